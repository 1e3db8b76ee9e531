"""The gated exchange between the modalities, and the set of trained parts that one block gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..config import ModelConfig
from .bottleneck import Adapter
from .frozen_mlp import mlp_and_down


class Gates(nn.Module):
    """One scalar per modality, zero at the start; a block's spatial and global step share them."""

    def __init__(self) -> None:
        super().__init__()
        self.video = nn.Parameter(torch.zeros(1))
        self.audio = nn.Parameter(torch.zeros(1))

    def forward(self, video: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """`u_m + g_m·c_m`, where `c_v = softmax(u_v u_aᵀ) u_a` and `c_a` is its mirror image.

        `video` is `[..., N_v, h]`, `audio` `[..., N_a, h]`, in groups of tokens that see each other.
        """
        return (
            torch.addcmul(video, self.video.to(video.dtype), cross_attend(video, audio)),
            torch.addcmul(audio, self.audio.to(audio.dtype), cross_attend(audio, video)),
        )


def cross_attend(query: Tensor, other: Tensor) -> Tensor:
    """`softmax(query·otherᵀ)·other` without scaling; `[..., N, h]`, `[..., N', h]` → `[..., N, h]`.

    The logits are unscaled and pass the range of half precision easily. Every kernel behind
    `scaled_dot_product_attention` keeps them in float32 whatever the inputs are, so nothing overflows.
    """
    # The fused kernels want four dimensions.
    q, kv = (x.view(x.shape[0], -1, *x.shape[-2:]) for x in (query, other))
    return functional.scaled_dot_product_attention(q, kv, kv, scale=1.0).view(query.shape)


class StepAdapters(nn.ModuleDict):
    """The adapters of one step, one for each modality."""

    def __init__(self, modalities: Sequence[str], width: int, ratio: float) -> None:
        super().__init__({modality: Adapter(width, ratio) for modality in modalities})

    def forward(self, tokens: Sequence[Tensor]) -> list[Tensor]:
        """What the step adds for each modality: `[..., N_m, D]` → `[..., N_m, D]`, in the same order."""
        return self.up(self.down(tokens))

    def down(self, tokens: Sequence[Tensor], through: nn.Linear | None = None) -> list[Tensor]:
        """Into the bottleneck, as `Adapter.down`."""
        return [adapter.down(x, through) for adapter, x in zip(self._adapters(), tokens, strict=True)]

    def down_from(self, mlp: Any, n: Tensor, rows: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """A frozen MLP's output `[rows, D]`, and what of it is in each bottleneck, `[rows_m, h]`."""
        z, hidden = mlp_and_down(n, mlp, [adapter.fc1 for adapter in self._adapters()], rows)
        return z, [functional.gelu(u) for u in hidden]

    def up(self, hidden: Sequence[Tensor]) -> list[Tensor]:
        """Out of the bottleneck, as `Adapter.up`."""
        return [adapter.up(u) for adapter, u in zip(self._adapters(), hidden, strict=True)]

    def _adapters(self) -> list[Adapter]:
        return list(self.values())  # type: ignore[arg-type]  # only ever adapters


class BlockAdapters(nn.Module):
    """Everything trained in one block. What is switched off does not exist: its attribute is None."""

    def __init__(self, config: ModelConfig, *, width: int, ratio: float, temporal: bool = True) -> None:
        super().__init__()

        def step(wanted: bool) -> StepAdapters | None:
            return StepAdapters(config.modalities, width, ratio) if wanted else None

        self.temporal = step(config.temporal and temporal)
        self.spatial = step(config.spatial)
        self.global_ = step(config.global_)
        exchanging = config.fused and (config.spatial or config.global_)
        self.gates = Gates() if exchanging else None

    def exchange(self, hidden: Sequence[Tensor]) -> list[Tensor]:
        """Lets the bottlenecks `[..., N_m, h]` of the modalities meet, where there are gates for it."""
        return list(self.gates(*hidden) if self.gates is not None else hidden)
