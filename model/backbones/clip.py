"""The CLIP family: the image tower of CLIP (arXiv 2103.00020), with OpenAI's files and QuickGELU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ..checks import check_choice
from ..config import ModelConfig
from ..noise import replace_drop_paths
from ..records import BackboneConfig, Family
from ..undrawn import undrawn
from .flat import FlatEncoder

_BLOCK_NAMES = {
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
_TRUNK_NAMES = {
    "class_embedding": "cls_token",
    "conv1.weight": "patch_embed.proj.weight",
    "positional_embedding": "pos_embed",
    "ln_pre.weight": "norm_pre.weight",
    "ln_pre.bias": "norm_pre.bias",
    "ln_post.weight": "norm.weight",
    "ln_post.bias": "norm.bias",
}


@dataclass(frozen=True, kw_only=True)
class ClipConfig(BackboneConfig):
    """A CLIP image tower: one stage.

    `activation` is that of the MLPs: `quick_gelu` of OpenAI's weights, or `gelu`, as most of timm's others.
    """

    family = "clip"
    stages = 1
    provides = frozenset({"pooled", "tokens", "stages"})

    audio_shape: tuple[int, int] = (102, 128)
    audio_stem: str = "sum"
    activation: str = "quick_gelu"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("activation", self.activation, ("quick_gelu", "gelu"))


def clip_backbone(record: Any, *, device: str) -> Any:
    """Build timm's CLIP image tower of a record, without the projection, on `device`."""
    with undrawn(device):
        backbone = VisionTransformer(
            img_size=record.image_size,
            patch_size=record.patch,
            embed_dim=record.width,
            depth=record.depths[0],
            num_heads=record.heads[0],
            num_classes=0,
            pre_norm=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-5),
            act_layer=record.activation,
            drop_path_rate=record.drop_path,
            weight_init="skip",
            device=device,
        )
    # timm's default depends on a global switch and on the environment; set here, it depends on neither.
    for block in backbone.blocks:
        block.attn.fused_attn = True
    replace_drop_paths(backbone)
    return backbone


def encoder(config: ModelConfig, *, device: str) -> FlatEncoder:
    """Build the adapted encoder; the frozen weights lie on `device`."""
    return FlatEncoder(config, clip_backbone(config.backbone, device=device), device=device)


def trunk_names(record: BackboneConfig) -> dict[str, str]:
    """Return OpenAI's names of CLIP's image tower → timm's."""
    names = dict(_TRUNK_NAMES)
    for i in range(record.depths[0]):
        for theirs, ours in _BLOCK_NAMES.items():
            names[f"transformer.resblocks.{i}.{theirs}"] = f"blocks.{i}.{ours}"
    return names


def rename(tensors: dict[str, Tensor], record: BackboneConfig) -> dict[str, Tensor]:
    """Give OpenAI's tensors timm's names and shapes; other names are left as they are."""
    if "visual.class_embedding" in tensors:  # the whole CLIP, of which only the image tower is used
        tensors = {n[len("visual.") :]: t for n, t in tensors.items() if n.startswith("visual.")}
    if "class_embedding" not in tensors:
        return tensors
    names = trunk_names(record)
    renamed = {names.get(name, name): tensor for name, tensor in tensors.items() if name != "proj"}
    for name, leading in (("cls_token", 2), ("pos_embed", 1)):
        if name in renamed:
            renamed[name] = renamed[name].reshape((1,) * leading + tuple(renamed[name].shape))
    return renamed


FAMILY = Family(
    config=ClipConfig,
    encoder=encoder,
    rename=rename,
    torchscript=True,
    records={
        "clip-b16": ClipConfig(
            width=768,
            depths=(12,),
            heads=(12,),
            patch=16,
            timm_name="vit_base_patch16_clip_quickgelu_224.openai",
        ),
        "clip-l14": ClipConfig(
            width=1024,
            depths=(24,),
            heads=(16,),
            patch=14,
            timm_name="vit_large_patch14_clip_quickgelu_224.openai",
        ),
        "clip-demo": ClipConfig(width=128, depths=(4,), heads=(4,), patch=32),
    },
)
