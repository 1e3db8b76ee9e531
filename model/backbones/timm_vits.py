"""Plain vision transformers of timm, built and described by name."""

from __future__ import annotations

from typing import Any

import timm
from timm.layers import Attention, AttentionRope, PatchEmbed
from timm.models.eva import Eva, EvaAttention, EvaBlock
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from ...errors import InputError
from ..noise import replace_drop_paths
from ..undrawn import undrawn
from .timm_records import FRAME_SIDE, published_facts

# Rotary positions that move at random while training would disturb the frozen features.
_EVA_OPTIONS = {
    "dynamic_img_size": True,
    "rope_shift_coords": None,
    "rope_jitter_coords": None,
    "rope_rescale_coords": None,
}


def build_timm_vit(name: str, *, pretrained: bool = False, **options: Any) -> Any:
    """Build timm's model `name` without a classifier.

    Attention pooling is replaced by the class token where there is one, else by the mean of the patches.

    Args:
        name: as timm knows it, such as `vit_base_patch16_dinov3.lvd1689m`.
        pretrained: load the published weights.
        options: of timm's class, such as `depth`, `img_size` and `device`.

    Raises:
        InputError: timm cannot build it with these options, or it is no plain vision transformer.
    """
    eva = timm.models.is_model_in_modules(name, ["eva"])
    options |= _EVA_OPTIONS if eva else {}
    try:
        with undrawn(options.get("device")):
            backbone = timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
    except (AssertionError, TypeError, ValueError) as error:
        if pretrained:
            raise
        raise InputError(f"timm_name: {name!r} cannot be built with these sizes ({error})") from error
    if fault := _fault(backbone):
        raise InputError(f"timm_name: {name!r}: {fault}, expected a plain VisionTransformer or Eva")
    by_token = backbone.global_pool == "token" or (
        backbone.global_pool != "avg" and backbone.cls_token is not None
    )
    backbone.reset_classifier(0, "token" if by_token else "avg")
    # timm's default depends on a global switch and on the environment; set here, it depends on neither.
    for block in backbone.blocks:
        block.attn.fused_attn = True
    replace_drop_paths(backbone)
    return backbone


def _fault(backbone: nn.Module) -> str | None:
    """Return the part of a model that the encoder does not know; None where it knows all."""
    if type(backbone) not in (VisionTransformer, Eva):
        return f"is a {type(backbone).__name__}"
    inner: Any = backbone
    if type(inner.patch_embed) is not PatchEmbed or not isinstance(inner.patch_embed.norm, nn.Identity):
        return f"patches come from {type(inner.patch_embed).__name__}, or pass a norm"
    for block in inner.blocks:
        if type(block) not in (Block, EvaBlock):
            return f"has blocks of the kind {type(block).__name__}"
        attn = block.attn
        if type(attn) not in (Attention, EvaAttention, AttentionRope):
            return f"has attention of the kind {type(attn).__name__}"
        if attn.gate is not None or getattr(attn, "num_kv_groups", 1) != 1:
            return "has attention with a gate or with shared keys"
    return None


def describe_timm_vit(name: str) -> dict[str, Any] | None:
    """Return the fields of a record for timm's model `name`, read off it.

    None where timm has no such model, or one of another kind. Raises InputError for a vision transformer with
    parts that the encoder does not know.
    """
    if not timm.models.is_model_in_modules(name, ["vision_transformer", "eva", "deit", "beit"]):
        return None
    backbone = build_timm_vit(name, device="meta")
    patch, trained_side = backbone.patch_embed.patch_size[0], backbone.patch_embed.img_size[0]
    return {
        "width": backbone.embed_dim,
        "depths": (len(backbone.blocks),),
        "heads": (backbone.blocks[0].attn.num_heads,),
        "patch": patch,
        "image_size": trained_side if FRAME_SIDE % patch else FRAME_SIDE,
        **published_facts(name),
    }
