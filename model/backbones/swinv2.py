"""The Swin V2 family: any `SwinTransformerV2` of timm, by timm's name (arXiv 2111.09883).

It differs from Swin inside the block: the norms follow the attention and the MLP, attention compares queries
and keys by their cosine, and a small frozen network computes the position bias for windows of any size.
Everything that a record holds is read off timm's model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import timm
import torch
from timm.models.swin_transformer_v2 import checkpoint_filter_fn
from torch import Tensor
from torch.nn import functional

from ...errors import InputError
from ..adapters.base import Attended
from ..config import ModelConfig
from ..noise import replace_drop_paths
from ..records import Family
from ..undrawn import undrawn
from .swin import SwinBlock, SwinConfig, SwinEncoder
from .timm_records import FRAME_SIDE, TimmRecords, published_facts

# Short names of the backbones that were tried → timm's names.
_TRIED = {
    "swinv2-t": "swinv2_tiny_window8_256.ms_in1k",
    "swinv2-s": "swinv2_small_window8_256.ms_in1k",
    "swinv2-b": "swinv2_base_window12_192.ms_in22k",
    "swinv2-l": "swinv2_large_window12_192.ms_in22k",
}
_LARGEST_LOG_SCALE = math.log(100)


@dataclass(frozen=True, kw_only=True)
class SwinV2Config(SwinConfig):
    """A Swin V2 of timm. `timm_name` decides everything but the sizes."""

    family = "swinv2"
    parallel_unimodal = False

    timm_name: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _is_swin_v2(self.timm_name):
            raise InputError(f"timm_name: {self.timm_name!r}, expected the name of a Swin V2 in timm")


def _is_swin_v2(name: str) -> bool:
    known: bool = timm.models.is_model_in_modules(name, ["swin_transformer_v2"])
    return known


def _build(record: SwinV2Config, **options: Any) -> Any:
    """Build timm's model of a record, without the classifier."""
    with undrawn(options.get("device")):
        return timm.create_model(
            record.timm_name,
            num_classes=0,
            **record.timm_sizes,
            **options,
        )


@lru_cache(maxsize=64)
def read_timm(name: str) -> SwinV2Config | None:
    """Return the record of timm's model `name`; None where timm has no such Swin V2.

    The window is that of timm's model for frames of `FRAME_SIDE`: in proportion to the picture.
    """
    if not _is_swin_v2(name):
        return None
    backbone = timm.create_model(name, num_classes=0, device="meta")
    backbone.set_input_size((FRAME_SIDE, FRAME_SIDE))
    first = backbone.layers[0].blocks[0]
    return SwinV2Config(
        width=first.dim,
        depths=tuple(len(stage.blocks) for stage in backbone.layers),
        heads=tuple(stage.blocks[0].num_heads for stage in backbone.layers),
        patch=backbone.patch_embed.patch_size[0],
        window=first.window_size[0],
        **published_facts(name),
    )


class SwinV2Block(SwinBlock):
    """A Swin V2 block: `x + norm1(attention(x))`, then `x + norm2(mlp(x))`."""

    scale = 1.0

    def __init__(self, block: Any, *args: Any, **options: Any) -> None:
        super().__init__(block, *args, **options)
        self.after_attention: Callable[[Tensor], Tensor] = block.norm1
        self.after_mlp: Callable[[Tensor], Tensor] = block.norm2

    def norm1(self, x: Tensor) -> Tensor:
        """Return `x`: the norm follows the attention."""
        return x

    def norm2(self, x: Tensor) -> Tensor:
        """Return `x`: the norm follows the MLP."""
        return x

    def proj(self, attended: Tensor) -> Tensor:
        y = self._apply("proj", self.block.attn.proj, attended, grouped=True)
        return self._apply("norm1", self.block.norm1, y, grouped=True)

    def mlp(self, n: Tensor) -> Tensor:
        mlp = self.block.mlp
        z = self._apply("fc2", mlp.fc2, mlp.act(self._apply("fc1", mlp.fc1, n)))
        return self._apply("norm2", self.block.norm2, z)

    def attend(self, n: Tensor) -> Attended:
        return self.core(self._apply("qkv", self._qkv, self.group(n), grouped=True))

    def heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """`[G, N, D]` → `[G, heads, N, D/heads]`; queries and keys have length 1, queries times a factor."""
        G, N, _ = x.shape
        qkv = self._qkv(x).view(G, N, 3, self.block.attn.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        return functional.normalize(q, dim=-1) * self._factors, functional.normalize(k, dim=-1), v

    def core(self, qkv: Tensor) -> Attended:
        """`[M·B·T, window area, windows, 3·D]` → the same with D.

        In float32 these are timm's operations in timm's order, and the results equal timm's bit for bit. In
        half precision a fused kernel keeps the logits, up to 100 times a cosine, in float32, and no matrix.
        """
        windows = qkv.shape[2]
        q, k, v = self._window_heads(qkv)
        q, k = functional.normalize(q, dim=-1), functional.normalize(k, dim=-1)
        factors, bias = self._factors.repeat(windows, 1, 1), self._bias().repeat(windows, 1, 1)
        mask = self.block.attn_mask
        masks = mask.repeat_interleave(self.block.attn.num_heads, 0) if mask is not None else None
        if qkv.dtype in (torch.float16, torch.bfloat16):
            bias = bias if masks is None else bias + masks
            y = functional.scaled_dot_product_attention(
                (q * factors).to(v.dtype), k.to(v.dtype), v, attn_mask=bias.to(v.dtype)[None], scale=1.0
            )
            return self._joined_heads(y, windows)
        logits = (q @ k.transpose(-2, -1) * factors).add_(bias)
        logits = logits if masks is None else logits.add_(masks)
        return self._joined_heads(logits.softmax(-1) @ v, windows)

    @property
    def _qkv(self) -> Callable[[Tensor], Tensor]:
        """The projection to queries, keys and values; keys have no bias."""
        attn = self.block.attn
        bias = torch.cat([attn.q_bias, attn.k_bias, attn.v_bias])
        return partial(functional.linear, weight=attn.qkv.weight, bias=bias)

    @property
    def _factors(self) -> Tensor:
        """The factor of the cosines of each head, `[heads, 1, 1]`."""
        factors: Tensor = self.block.attn.logit_scale.clamp(max=_LARGEST_LOG_SCALE).exp()
        return factors

    def _bias(self) -> Tensor:
        """Return the position bias inside a window, `[heads, window area, window area]`."""
        attn = self.block.attn
        table = attn.cpb_mlp(attn.relative_coords_table).view(-1, attn.num_heads)
        # Contiguous as timm's: vectorised and other loops of `sigmoid` differ in the last bit.
        bias = table[attn.relative_position_index].permute(2, 0, 1).contiguous()
        return 16 * torch.sigmoid(bias)


def encoder(config: ModelConfig, *, device: str) -> SwinEncoder:
    """Build the adapted encoder; the frozen weights lie on `device`."""
    record: Any = config.backbone
    backbone = _build(record, drop_path_rate=record.drop_path, device=device)
    replace_drop_paths(backbone)
    return SwinEncoder(config, backbone, SwinV2Block, device=device)


def published(record: SwinV2Config) -> Any:
    """Build timm's model of a record with its published weights, from the cache or the hub."""
    return _build(record, pretrained=True)


def rename(tensors: dict[str, Tensor], record: SwinV2Config) -> dict[str, Tensor]:
    """Give the tensors of a published file, timm's or Microsoft's, timm's names."""
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("head.")}
    renamed: dict[str, Tensor] = checkpoint_filter_fn(kept, _build(record, device="meta"))
    return renamed


FAMILY = Family(
    config=SwinV2Config,
    encoder=encoder,
    records=TimmRecords(_TRIED, read_timm),
    rename=rename,
    read=read_timm,
    published=published,
)
