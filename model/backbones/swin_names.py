"""Names of the tensors in Microsoft's Swin checkpoints."""

from __future__ import annotations

from torch import Tensor

from ..records import BackboneConfig

_ENDS = ("patch_embed.proj", "patch_embed.norm", "norm")
_LAYERS = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
_BIAS_TABLE = "attn.relative_position_bias_table"


def trunk_names(record: BackboneConfig) -> dict[str, str]:
    """Return Microsoft's names of Swin's trunk → timm's.

    A downsampling is the end of a stage in the former, the start of one in the latter.
    """
    layers = [f"{layer}.{leaf}" for layer in _LAYERS for leaf in ("weight", "bias")]
    names = {f"{layer}.{leaf}": f"{layer}.{leaf}" for layer in _ENDS for leaf in ("weight", "bias")}
    for stage, depth in enumerate(record.depths):
        for i in range(depth):
            block = f"layers.{stage}.blocks.{i}."
            names.update({block + layer: block + layer for layer in layers})
            names[block + _BIAS_TABLE] = block + _BIAS_TABLE
        if stage + 1 < len(record.depths):
            for entry in ("norm.weight", "norm.bias", "reduction.weight"):
                names[f"layers.{stage}.downsample.{entry}"] = f"layers.{stage + 1}.downsample.{entry}"
    return names


def rename(tensors: dict[str, Tensor], record: BackboneConfig) -> dict[str, Tensor]:
    """Give Microsoft's tensors timm's names, without the buffers that both compute."""
    computed = ("relative_position_index", "attn_mask")
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith(computed)}
    if "layers.0.downsample.reduction.weight" not in tensors:
        return tensors
    names = trunk_names(record)
    return {names.get(name, name): tensor for name, tensor in tensors.items()}
