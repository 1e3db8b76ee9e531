"""A small network beside the frozen one: a few learnt vectors read the output of each block, attend over time
and to the other modality, and add to what the head reads. No gradient runs through the backbone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import InputError
from ..checks import check_choice, check_integer, is_integer
from ..config import ModelConfig
from ..records import AdapterConfig, AdapterMethod, BackboneConfig
from .base import SideAdapter, has_autocast, temporal_bias
from .frozen_read import read_frozen, without_weight
from .placement import odd_blocks

_MOST_TOKENS = 1024
_MOST_WIDTH = 16_384
_EPS = 1e-5
_LEARNING_RATE = 1e-3
_PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True, kw_only=True)
class SideConfig(AdapterConfig):
    """The options of the side network.

    Attributes:
        side_tokens: K, the learnt vectors of each modality.
        side_width: w, their width; None chooses 96, or 128 for large backbones.
        side_layers: the blocks that it reads, indices among all blocks from 0; None for every other block, or
            all blocks of a plain backbone with fewer than 24.
        backbone_precision: of the frozen backbone: `bf16`; `fp32`, which is that of training; or `auto`,
            which is bf16 on GPUs that compute in it.
    """

    method = "side"

    side_tokens: int = 8
    side_width: int | None = None
    side_layers: tuple[int, ...] | None = None
    backbone_precision: str = "auto"

    def __post_init__(self) -> None:
        check_integer("side_tokens", self.side_tokens, most=_MOST_TOKENS)
        if self.side_width is not None:
            check_integer("side_width", self.side_width, most=_MOST_WIDTH)
        if self.side_layers is not None:
            object.__setattr__(self, "side_layers", _layers(self.side_layers))
        check_choice("backbone_precision", self.backbone_precision, _PRECISIONS)

    @classmethod
    def learning_rate(cls, _task: str) -> float | None:
        return _LEARNING_RATE

    def fitted(self, backbone: BackboneConfig) -> SideConfig:
        """Return the record with the width for the backbone. Raises InputError for a block that it lacks."""
        blocks = sum(backbone.depths)
        if self.side_layers is not None and self.side_layers[-1] >= blocks:
            raise InputError(f"side_layers: {self.side_layers[-1]}, expected 0 to {blocks - 1}")
        if self.side_width is not None:
            return self
        is_large = backbone.width >= (1024 if backbone.stages == 1 else 192)
        return dataclasses.replace(self, side_width=128 if is_large else 96)


def _layers(value: Any) -> tuple[int, ...]:
    items = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not items or not all(is_integer(item) and item >= 0 for item in items):
        raise InputError(f"side_layers: {value!r}, expected indices of blocks, from 0")
    if len(set(items)) < len(items):
        raise InputError(f"side_layers: {value!r}, expected each block once")
    return tuple(sorted(items))


class Tap(nn.Module):
    """The part of one modality at the output of one block: read, attend over time, exchange, transform.

    Args:
        block_width: D of the block.
        width: w of the learnt vectors.
        frames: T.
        exchange: read the other modality.
    """

    def __init__(self, block_width: int, width: int, frames: int, *, exchange: bool) -> None:
        super().__init__()
        self.norm_read, self.norm_time, self.norm_mlp = (nn.LayerNorm(width, eps=_EPS) for _ in range(3))
        self.query, self.value = nn.Linear(width, block_width), nn.Linear(block_width, width)
        self.time_qkv, self.time_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.time_bias = nn.Parameter(torch.zeros(2 * frames - 1))
        self.norm_exchange = nn.LayerNorm(width, eps=_EPS) if exchange else None
        self.gate = nn.Parameter(torch.ones(1)) if exchange else None
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def read(self, state: Tensor, x: Tensor, frame_mask: Tensor | None, dtype: torch.dtype) -> Tensor:
        """Read the block, then attend over time.

        Args:
            state: `[B, T, K, w]`.
            x: `[B, T, N, D]`, the block's output.
            frame_mask: as in `FrozenBlock`.
            dtype: of the products with the block's output.
        """
        read = read_frozen(self.query(self.norm_read(state)), x, dtype)
        state = state + self.value(read.to(state.dtype))
        q, k, v = self.time_qkv(self.norm_time(state)).transpose(1, 2).chunk(3, dim=-1)
        mask = temporal_bias(self.time_bias[:, None], state.shape[1]).to(q.dtype)
        if frame_mask is not None:
            mask = mask.masked_fill(~frame_mask[:, None, None], -torch.inf)
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return state + self.time_out(attended.transpose(1, 2))  # type: ignore[no-any-return]

    def exchange(self, state: Tensor) -> Tensor:
        """Return what the other modality reads, `[B, T, K, w]`."""
        return state if self.norm_exchange is None else self.norm_exchange(state)

    def finish(self, state: Tensor, own: Tensor, other: Tensor | None) -> Tensor:
        """Read the other modality, given both results of `exchange`, and transform: `[B, T, K, w]`."""
        if self.gate is not None and other is not None:
            read = functional.scaled_dot_product_attention(own, other, other)
            state = state + self.gate * read
        return state + self.fc2(functional.gelu(self.fc1(self.norm_mlp(state))))  # type: ignore[no-any-return]


class MapReader(nn.Module):
    """Adds to each token of a map what it reads of the learnt vectors; adds nothing at first."""

    def __init__(self, map_width: int, width: int) -> None:
        super().__init__()
        self.query, self.out = nn.Linear(map_width, width), nn.Linear(width, map_width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, tokens: Tensor, vectors: Tensor) -> Tensor:
        """`[B, T, N, D]` with `[B, T, K, w]` → `[B, T, N, D]`."""
        query = self.query(without_weight(tokens))
        return tokens + self.out(functional.scaled_dot_product_attention(query, vectors, vectors))  # type: ignore[no-any-return]


class SideNetwork(SideAdapter):
    """The learnt vectors, their taps, and what is added to pooled vectors and maps.

    Args:
        modalities: in the order of the model.
        tap_widths: D of each tapped block.
        width: w.
        tokens: K.
        frames: T.
        pooled: of each modality whose pooled vector the head reads, its width.
        maps: of each map that the head reads, its width.
        exchange: let the modalities read each other.
        taps: indices of the tapped blocks among all blocks.
        precision: `backbone_precision` of the record.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        tap_widths: Sequence[int],
        *,
        width: int,
        tokens: int,
        frames: int,
        pooled: Mapping[str, int],
        maps: Mapping[str, int],
        exchange: bool,
        taps: Sequence[int] = (),
        precision: str = "fp32",
    ) -> None:
        super().__init__()
        self.modalities, self.tapped, self._precision = tuple(modalities), frozenset(taps), precision
        self.tokens = nn.ParameterDict({m: torch.randn(tokens, width) for m in modalities})
        self.taps = nn.ModuleDict(
            {
                m: nn.ModuleList(Tap(D, width, frames, exchange=exchange) for D in tap_widths)
                for m in modalities
            }
        )
        self.norm_out = nn.ModuleDict({m: nn.LayerNorm(width, eps=_EPS) for m in modalities})
        self.up = nn.ModuleDict({m: nn.Linear(width, D) for m, D in pooled.items()})
        for layer in self.up.values():
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]  # a parameter
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.maps = nn.ModuleDict({name: MapReader(D, width) for name, D in maps.items()})

    def context(self, device: torch.device) -> AbstractContextManager[Any]:
        """Return the context for the backbone's precision."""
        if not self.computes_in_bf16(device):
            return nullcontext()
        return torch.autocast(device.type, dtype=torch.bfloat16)

    def use_float32(self) -> None:
        """Compute the backbone without autocast from now on, whatever `backbone_precision` says."""
        self._precision = "fp32"

    def computes_in_bf16(self, device: torch.device) -> bool:
        """Tell whether the backbone computes in bf16 on `device`, whatever training computes in."""
        if not has_autocast(device.type):
            return False
        if self._precision == "auto" and device.type == "cuda":
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        return self._precision == "bf16"

    def read(
        self, tap: int, x: Sequence[Tensor], state: list[Tensor] | None, frame_mask: Tensor | None
    ) -> list[Tensor]:
        B, T = x[0].shape[:2]
        states = state or [self.tokens[m].expand(B, T, -1, -1) for m in self.modalities]
        layers: list[Any] = [self.taps[m][tap] for m in self.modalities]  # type: ignore[index]
        dtype = self._dtype(x[0])
        states = [
            layer.read(s, part, frame_mask, dtype) for layer, s, part in zip(layers, states, x, strict=True)
        ]
        shown = [layer.exchange(s) for layer, s in zip(layers, states, strict=True)]
        others = shown[::-1] if len(shown) == 2 else [None]
        rows = zip(layers, states, shown, others, strict=True)
        return [layer.finish(s, own, other) for layer, s, own, other in rows]

    def finish(
        self, state: list[Tensor], pooled: Mapping[str, Tensor], maps: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        final = {m: self.norm_out[m](s) for m, s in zip(self.modalities, state, strict=True)}
        vectors = torch.cat(list(final.values()), dim=2)
        return (
            {m: x + self.up[m](final[m].mean(2)) if m in self.up else x for m, x in pooled.items()},
            {name: self.maps[name](x, vectors) if name in self.maps else x for name, x in maps.items()},
        )

    def _dtype(self, x: Tensor) -> torch.dtype:
        """Return the number format of the products with a block's output."""
        device = x.device
        if self.computes_in_bf16(device):
            return torch.bfloat16
        if has_autocast(device.type) and torch.is_autocast_enabled(device.type):
            return torch.get_autocast_dtype(device.type)
        return x.dtype


def build_side(config: ModelConfig) -> SideNetwork:
    """Build the side network of a model."""
    adapter: Any = config.adapter
    backbone = config.backbone
    widths = [D for D, depth in zip(backbone.widths, backbone.depths, strict=True) for _ in range(depth)]
    taps = odd_blocks(backbone) if adapter.side_layers is None else adapter.side_layers
    return SideNetwork(
        config.modalities,
        [widths[block] for block in taps],
        width=adapter.side_width,
        tokens=adapter.side_tokens,
        frames=config.frames,
        pooled={m: config.feature_width for m in config.modalities if m in config.head.pooled_of},
        maps=config.map_widths,
        exchange=config.fused,
        taps=taps,
        precision=adapter.backbone_precision,
    )


ADAPTER = AdapterMethod(config=SideConfig, side=build_side)
