"""The ViT family: any plain vision transformer of timm, by timm's name (arXiv 2010.11929).

These are timm's `VisionTransformer` (CLIP, SigLIP, DINOv2, MAE, AugReg, DeiT III, …) and `Eva` (rotary
positions: DINOv3, EVA-02, Perception Encoder, …). Everything that a record holds is read off timm's model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import timm
from timm.models import eva, vision_transformer
from torch import Tensor

from ...errors import InputError
from ..config import ModelConfig
from ..records import BackboneConfig, Family
from .flat import FlatEncoder
from .timm_records import TimmRecords
from .timm_vits import build_timm_vit, describe_timm_vit

# Short names of the backbones that were tried → timm's names.
_TRIED = {
    "vit-b16-augreg": "vit_base_patch16_224.augreg_in21k",
    "vit-b16-mae": "vit_base_patch16_224.mae",
    "vit-b16-clip": "vit_base_patch16_clip_224.laion2b",
    "vit-b16-siglip2": "vit_base_patch16_siglip_224.v2_webli",
    "vit-b14-dinov2": "vit_base_patch14_dinov2.lvd142m",
    "vit-b14-dinov2-reg": "vit_base_patch14_reg4_dinov2.lvd142m",
    "vit-b16-deit3": "deit3_base_patch16_224.fb_in22k_ft_in1k",
    "vit-s16-dinov3": "vit_small_patch16_dinov3.lvd1689m",
    "vit-b16-dinov3": "vit_base_patch16_dinov3.lvd1689m",
    "vit-b14-eva02": "eva02_base_patch14_224.mim_in22k",
    "vit-b16-eva02-clip": "eva02_base_patch16_clip_224.merged2b",
    "vit-b16-pe": "vit_pe_core_base_patch16_224.fb",
}
# Parts of published files that the encoder has no use for: classifiers, attention pooling, mask tokens.
_LEFT_OUT = ("head.", "head_dist.", "attn_pool.", "mask_token")


@dataclass(frozen=True, kw_only=True)
class VitConfig(BackboneConfig):
    """A plain vision transformer of timm: one stage. `timm_name` decides everything but the sizes."""

    family = "vit"
    stages = 1
    provides = frozenset({"pooled", "tokens", "stages"})

    timm_name: str
    audio_shape: tuple[int, int] = (102, 128)
    audio_stem: str = "sum"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not timm.is_model(self.timm_name):
            raise InputError(f"timm_name: {self.timm_name!r}, expected the name of a model in timm")

    @property
    def timm_options(self) -> dict[str, Any]:
        """The record's sizes as options of timm's class."""
        return {
            "img_size": self.image_size,
            "patch_size": self.patch,
            "embed_dim": self.width,
            "depth": self.depths[0],
            "num_heads": self.heads[0],
        }


@lru_cache(maxsize=64)
def read_timm(name: str) -> VitConfig | None:
    """Return the record of timm's model `name`; None where timm has no such vision transformer.

    Raises InputError for one that has parts which the encoder does not know.
    """
    fields = describe_timm_vit(name)
    return None if fields is None else VitConfig(**fields)


def encoder(config: ModelConfig, *, device: str) -> FlatEncoder:
    """Build the adapted encoder; the frozen weights lie on `device`."""
    record: Any = config.backbone
    options = {**record.timm_options, "drop_path_rate": record.drop_path}
    backbone = build_timm_vit(record.timm_name, device=device, **options)
    return FlatEncoder(config, backbone, device=device)


def published(record: VitConfig) -> Any:
    """Build timm's model of a record with its published weights, from the cache or the hub."""
    return build_timm_vit(record.timm_name, pretrained=True, **record.timm_options)


def rename(tensors: dict[str, Tensor], record: VitConfig) -> dict[str, Tensor]:
    """Give the tensors of a published file timm's names, and positions of another grid the record's size."""
    backbone = build_timm_vit(record.timm_name, device="meta", **record.timm_options)
    source = eva if isinstance(backbone, eva.Eva) else vision_transformer
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(_LEFT_OUT)}
    renamed: dict[str, Tensor] = source.checkpoint_filter_fn(kept, backbone)
    return {name: tensor for name, tensor in renamed.items() if not name.startswith(_LEFT_OUT)}


FAMILY = Family(
    config=VitConfig,
    encoder=encoder,
    records=TimmRecords(_TRIED, read_timm),
    rename=rename,
    read=read_timm,
    published=published,
)
