"""LoRA: low-rank changes of the linear layers of each block (arXiv 2106.09685)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..checks import check_integer, check_number
from ..config import ModelConfig
from ..records import AdapterConfig, AdapterMethod
from .base import BlockAdapter, BlockSite, FrozenBlock, Layer

_MOST_RANK = 1024
_MOST_ALPHA = 1e6
LEARNING_RATES = {"ave": 5e-6, "avs": 2e-4}
"""Of CoLA and its LoRA baseline, by task: peterwisu/CoLA, `train.sh` and `main_trans.py`."""
PROJECTIONS = {"qkv": 3}
"""Layers whose outputs are those of several layers, one below the other: the number of them."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig(AdapterConfig):
    """The options of LoRA.

    Attributes:
        rank: r, of each change.
        alpha: changes are multiplied by `alpha / rank`.
    """

    method = "lora"

    rank: int = 16
    alpha: float = 8.0

    def __post_init__(self) -> None:
        check_integer("rank", self.rank, most=_MOST_RANK)
        check_number("alpha", self.alpha, below=_MOST_ALPHA)

    @classmethod
    def learning_rate(cls, task: str) -> float | None:
        return LEARNING_RATES.get(task)


class LowRank(nn.Module):
    """`s·B·A·x` with `s = alpha / rank`, to be added to a frozen linear layer's output.

    `down` is A `[n·r, d_in]`, `up` is B `[n·d_out, r]`, zero at first. The layer may consist of several
    projections, of which `enabled` names those that are changed: `n` of them.
    """

    def __init__(
        self, inputs: int, outputs: int, *, rank: int, alpha: float, enabled: Sequence[bool] = (True,)
    ) -> None:
        super().__init__()
        self.scale, self.enabled = alpha / rank, tuple(enabled)
        count = sum(self.enabled)
        self.down = nn.Parameter(torch.empty(count * rank, inputs))
        self.up = nn.Parameter(torch.zeros(count * (outputs // len(self.enabled)), rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """`[..., d_in]` → `[..., d_out]`."""
        count = sum(self.enabled)
        inner = functional.linear(x, self.down).chunk(count, dim=-1)
        changes = iter(
            functional.linear(u, self.scale * up) for u, up in zip(inner, self.up.chunk(count), strict=True)
        )
        if self.enabled == (True,):
            return next(changes)
        width = len(self.up) // count
        parts = [next(changes) if on else x.new_zeros(*x.shape[:-1], width) for on in self.enabled]
        return torch.cat(parts, dim=-1)


class LoraBlock(BlockAdapter):
    """The changes of one block's linear layers, per modality."""

    def __init__(self, config: ModelConfig, site: BlockSite) -> None:
        super().__init__()
        adapter: Any = config.adapter

        def change(name: str, layer: nn.Linear) -> LowRank:
            enabled = (True,) * PROJECTIONS.get(name, 1)
            rank, alpha = adapter.rank, adapter.alpha
            return LowRank(layer.in_features, layer.out_features, rank=rank, alpha=alpha, enabled=enabled)

        linear = {name: layer for name, layer in site.layers.items() if isinstance(layer, nn.Linear)}
        self.changes = nn.ModuleDict(
            {
                modality: nn.ModuleDict({name: change(name, layer) for name, layer in linear.items()})
                for modality in config.modalities
            }
        )

    def forward(self, x: Tensor, frozen: FrozenBlock) -> Tensor:
        edited = frozen.edited(self._change)
        return edited.run_mlp(edited.run_attention(x))

    def _change(self, layer: Layer, x: Tensor) -> Tensor:
        """Compute a layer of the block, with the changes of each modality where it is linear."""
        y: Tensor = layer.module(x)
        changes = [of[layer.name] for of in self.changes.values() if layer.name in of]  # type: ignore[operator,index]
        if not changes:
            return y
        return y + layer.join([change(part) for change, part in zip(changes, layer.split(x), strict=True)])


ADAPTER = AdapterMethod(config=LoraConfig, block=LoraBlock)
