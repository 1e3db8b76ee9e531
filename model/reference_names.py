"""The names of the authors' release, and ours. Both sides are listed in full for a configuration, so that an
imported checkpoint can be accounted for entry by entry.
"""

from __future__ import annotations

from .config import ModelConfig

_MODALITY_SUFFIX = {"video": "", "audio": "_Audio"}
_TABLE_SUFFIX = {"video": "", "audio": "_audio"}
_CLIP_STEPS = {"temporal": "T_Adapter", "spatial": "S_Adapter", "global_": "MLP_Adapter"}
_CLIP_BLOCK = {
    "attn.in_proj_weight": "attn.qkv.weight",
    "attn.in_proj_bias": "attn.qkv.bias",
    "attn.out_proj.weight": "attn.proj.weight",
    "attn.out_proj.bias": "attn.proj.bias",
    "ln_1.weight": "norm1.weight",
    "ln_1.bias": "norm1.bias",
    "ln_2.weight": "norm2.weight",
    "ln_2.bias": "norm2.bias",
    "mlp.c_fc.weight": "mlp.fc1.weight",
    "mlp.c_fc.bias": "mlp.fc1.bias",
    "mlp.c_proj.weight": "mlp.fc2.weight",
    "mlp.c_proj.bias": "mlp.fc2.bias",
}
_CLIP_TRUNK = {
    "class_embedding": "cls_token",
    "conv1.weight": "patch_embed.proj.weight",
    "positional_embedding": "pos_embed",
    "ln_pre.weight": "norm_pre.weight",
    "ln_pre.bias": "norm_pre.bias",
    "ln_post.weight": "norm.weight",
    "ln_post.bias": "norm.bias",
}


def clip_trunk_names(depth: int) -> dict[str, str]:
    """OpenAI's names of CLIP's image tower → timm's."""
    names = dict(_CLIP_TRUNK)
    for i in range(depth):
        for theirs, ours in _CLIP_BLOCK.items():
            names[f"transformer.resblocks.{i}.{theirs}"] = f"blocks.{i}.{ours}"
    return names


def reference_names(config: ModelConfig) -> dict[str, str]:
    """The release's names → ours, for every entry that our model of this configuration has."""
    names = _clip_names(config)
    names.update(_ave_names(config))
    return names


def _clip_names(config: ModelConfig) -> dict[str, str]:
    names = {n: f"encoder.backbone.{ours}" for n, ours in clip_trunk_names(config.depths[0]).items()}
    if "audio" in config.modalities:
        names["conv1_audio.weight"] = "encoder.audio_stem.weight"
        names["positional_embedding_audio"] = "encoder.audio_positions"
    for modality in config.modalities:
        names[f"temporal_embedding{_TABLE_SUFFIX[modality]}"] = f"encoder.temporal_embedding.{modality}"
    for i in range(config.depths[0]):
        names.update(
            _block_names(config, f"transformer.resblocks.{i}.", f"encoder.adapters.{i}.", _CLIP_STEPS)
        )
    return names


def _block_names(config: ModelConfig, theirs: str, ours: str, steps: dict[str, str]) -> dict[str, str]:
    names = {}
    for modality in config.modalities:
        for step, adapter in steps.items():
            for layer in ("fc1", "fc2"):
                for leaf in ("weight", "bias"):
                    source = f"{theirs}{adapter}{_MODALITY_SUFFIX[modality]}.D_{layer}.{leaf}"
                    names[source] = f"{ours}{step}.{modality}.{layer}.{leaf}"
    if config.fused:
        names[f"{theirs}gate_v"] = f"{ours}gates.video"
        names[f"{theirs}gate_a"] = f"{ours}gates.audio"
    return names


def _ave_names(config: ModelConfig) -> dict[str, str]:
    layers = (0, 1) if len(config.modalities) == 1 else (0, 2)
    return {f"mlp_head.{i}.{leaf}": f"head.layers.{i}.{leaf}" for i in layers for leaf in ("weight", "bias")}
