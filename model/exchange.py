"""The gated exchange between the modalities, and the set of trained parts that one block gets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .adapter import Adapter
from .config import ModelConfig


class Gates(nn.Module):
    """One scalar per modality, zero at the start; a block's spatial and global step share them."""

    def __init__(self) -> None:
        super().__init__()
        self.video = nn.Parameter(torch.zeros(1))
        self.audio = nn.Parameter(torch.zeros(1))

    def forward(self, video: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """`u_m + g_m·c_m`, where `c_v = softmax(u_v u_aᵀ) u_a` and `c_a` is its mirror image.

        `video` is `[G, N_v, h]`, `audio` `[G, N_a, h]`: G groups of tokens that see each other.
        """
        return (
            torch.addcmul(video, self.video.to(video.dtype), cross_attend(video, audio)),
            torch.addcmul(audio, self.audio.to(audio.dtype), cross_attend(audio, video)),
        )


def cross_attend(query: Tensor, other: Tensor) -> Tensor:
    """`softmax(query·otherᵀ)·other` without scaling; `[G, N, h]`, `[G, N', h]` → `[G, N, h]`.

    The logits are unscaled and pass the range of half precision easily. Every kernel behind
    `scaled_dot_product_attention` keeps them in float32 whatever the inputs are, so nothing overflows.
    """
    query, other = query[:, None], other[:, None]
    return functional.scaled_dot_product_attention(query, other, other, scale=1.0)[:, 0]


class StepAdapters(nn.ModuleDict):
    """The adapters of one step, one for each modality."""

    def __init__(self, modalities: Sequence[str], width: int, ratio: float) -> None:
        super().__init__({modality: Adapter(width, ratio) for modality in modalities})

    def forward(self, tokens: Sequence[Tensor], gates: Gates | None = None) -> list[Tensor]:
        """What the step adds for each modality: `[..., N_m, D]` → `[..., N_m, D]`, in the same order.

        With `gates`, the bottlenecks meet: tokens are then `[G, N_m, D]`, and only those of one group do.
        """
        adapters: list[Adapter] = list(self.values())  # type: ignore[arg-type]  # only ever adapters
        hidden = [adapter.down(x) for adapter, x in zip(adapters, tokens, strict=True)]
        if gates is not None:
            hidden = list(gates(*hidden))
        return [adapter.up(u) for adapter, u in zip(adapters, hidden, strict=True)]


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
