"""STG-CMA: bottleneck adapters after attention over time, attention within a frame, and the MLP, with a gated
exchange between the modalities in the last two (CVPR-W 2024).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import InputError
from ..checks import check_flag, is_number
from ..config import ModelConfig
from ..records import AdapterConfig, AdapterMethod, BackboneConfig
from .base import BlockAdapter, BlockSite, FrozenBlock, temporal_bias
from .bottleneck import StepAdapters
from .exchange import Gates

_MOST_RATIO = 16


@dataclass(frozen=True, kw_only=True)
class StgcmaConfig(AdapterConfig):
    """The options of STG-CMA.

    Attributes:
        ratio: h / D per stage; one number stands for all stages.
        temporal: off, every time step stands alone: no attention over time, and no embeddings or bias tables.
        spatial, global_: the adapters after the attention and after the MLP.
    """

    method = "stg-cma"

    ratio: tuple[float, ...]
    temporal: bool = True
    spatial: bool = True
    global_: bool = True

    def __post_init__(self) -> None:
        for name in ("temporal", "spatial", "global_"):
            check_flag(name, getattr(self, name))

    @property
    def temporal_embedding(self) -> bool:
        """True with the temporal step, which the embedding serves."""
        return self.temporal

    def carried(self, backbone: BackboneConfig) -> dict[str, Any]:
        """Return the smallest ratio, that of the widest stage, for a backbone of another number of stages."""
        fits = len(self.ratio) in (1, backbone.stages)
        return {} if fits else {"adapter_ratio": (min(self.ratio),)}

    def fitted(self, backbone: BackboneConfig) -> StgcmaConfig:
        """Return the record with one ratio for each stage."""
        ratio = _ratios(self.ratio, backbone.stages)
        for width, one in zip(backbone.widths, ratio, strict=True):
            if int(width * one) < 1:
                raise InputError(f"adapter_ratio: {one!r}, expected at least 1/{width} of width {width}")
        return dataclasses.replace(self, ratio=ratio)


def _ratios(value: Any, stages: int) -> tuple[float, ...]:
    items = tuple(value) if isinstance(value, list | tuple) else (value,) * stages
    if len(items) == 1:
        items *= stages
    if len(items) != stages or not all(is_number(item) and 0 < item < math.inf for item in items):
        raise InputError(f"adapter_ratio: {value!r}, expected one number above 0, or {stages} of them")
    if max(items) > _MOST_RATIO:
        raise InputError(f"adapter_ratio: {value!r}, expected at most {_MOST_RATIO}")
    return tuple(float(item) for item in items)


class StgcmaBlock(BlockAdapter):
    """The trained parts of one block. What is switched off does not exist: its attribute is None."""

    def __init__(self, config: ModelConfig, site: BlockSite) -> None:
        super().__init__()
        adapter: Any = config.adapter
        ratio = adapter.ratio[site.stage]
        relative = config.backbone.relative_time

        def step(wanted: bool) -> StepAdapters | None:
            return StepAdapters(config.modalities, site.width, ratio) if wanted else None

        self.temporal = step(adapter.temporal and (site.index % 2 == 0 or not relative))
        self.spatial = step(adapter.spatial)
        self.global_ = step(adapter.global_)
        exchanging = config.fused and (adapter.spatial or adapter.global_)
        self.gates = Gates() if exchanging else None
        # In this order, which is that of the tokens; a ParameterDict sorts its names.
        self.biased = config.modalities if relative and self.temporal is not None else ()
        shape = (2 * config.frames - 1, site.heads)
        self.temporal_bias = nn.ParameterDict({m: torch.zeros(shape) for m in self.biased})

    def forward(self, x: Tensor, frozen: FrozenBlock) -> Tensor:
        if self.temporal is not None:
            x = x + self._temporal_residual(x, frozen, self.temporal)
        return self._adapt_mlp(self._adapt_attention(x, frozen), frozen)

    def _temporal_residual(self, x: Tensor, frozen: FrozenBlock, step: StepAdapters) -> Tensor:
        """Attend over the time steps at every token position, adapted: layout of `x` → the same."""
        biases = [temporal_bias(self.temporal_bias[m], frozen.steps) for m in self.biased]
        attended = frozen.attend_over_time(frozen.norm1(x), biases)
        # Drops rows: one clip, one position. Modality by modality, so that a clip's rows lie together.
        return frozen.from_time([frozen.block.drop_path1(added) for added in step(attended)])

    def _adapt_attention(self, x: Tensor, frozen: FrozenBlock) -> Tensor:
        """Add the attention within each frame and segment, adapted, with the exchange inside its groups."""
        if self.spatial is None:
            return frozen.run_attention(x)
        y, parts = frozen.project(frozen.attend(frozen.norm1(x)))
        met = self._exchange([frozen.grouped(u) for u in self.spatial.down(parts)])
        return frozen.add(x, y, frozen.join_attended(self.spatial.up([frozen.grouped(u) for u in met])))

    def _adapt_mlp(self, x: Tensor, frozen: FrozenBlock) -> Tensor:
        """Add the MLP, adapted; the modalities exchange over all tokens of a time step."""
        if self.global_ is None:
            return frozen.run_mlp(x)
        n = frozen.norm2(x)
        if frozen.parallel:
            (beside,) = self.global_([n])
            return frozen.add_tokens(x, frozen.mlp(n) + frozen.block.drop_path2(0.5 * beside))
        z, parts = frozen.mlp_output(n)
        added = [part.flatten(0, 1) for part in self.global_.up(self._exchange(self.global_.down(parts)))]
        return frozen.add_tokens(x, z, torch.cat(added))

    def _exchange(self, hidden: Sequence[Tensor]) -> list[Tensor]:
        """Exchange between the bottlenecks `[..., N_m, h]` of the modalities, where there are gates."""
        return list(self.gates(*hidden) if self.gates is not None else hidden)


ADAPTER = AdapterMethod(config=StgcmaConfig, block=StgcmaBlock)
