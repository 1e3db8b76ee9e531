"""LAVISH: adapters beside the attention and the MLP that read the other modality through a few latents
(arXiv 2212.07983).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import InputError
from ..batch_norm import BatchNorm
from ..checks import check_flag, check_integer
from ..config import ModelConfig
from ..records import AdapterConfig, AdapterMethod, BackboneConfig
from .base import BlockAdapter, BlockSite, FrozenBlock
from .exchange import cross_attend

_MOST_LATENTS = 1024
_MOST_GROUPS = 1024
# By task: GenjiB/LAVISH, README (AVE) and the scripts of AVS and AVQA.
_LEARNING_RATES = {"ave": 5e-5, "avs": 1e-4, "avqa": 8e-5}
_PLACES = ("attention", "mlp")


@dataclass(frozen=True, kw_only=True)
class LavishConfig(AdapterConfig):
    """The options of LAVISH.

    Attributes:
        reduction: D / h, rounded down to whole h.
        groups: of the bottleneck's two layers, which are block-diagonal.
        latents: number of latents that read the other modality.
        batch_norm: normalise the bottleneck's values over all tokens of a batch.
    """

    method = "lavish"

    reduction: int = 8
    groups: int = 2
    latents: int = 2
    batch_norm: bool = True

    def __post_init__(self) -> None:
        check_integer("reduction", self.reduction, most=16_384)
        check_integer("groups", self.groups, most=_MOST_GROUPS)
        check_integer("latents", self.latents, most=_MOST_LATENTS)
        check_flag("batch_norm", self.batch_norm)

    @classmethod
    def learning_rate(cls, task: str) -> float | None:
        return _LEARNING_RATES.get(task)

    def fitted(self, backbone: BackboneConfig) -> LavishConfig:
        """Return the record. Raises InputError where a width cannot be divided."""
        for width in backbone.widths:
            hidden = width // self.reduction
            if hidden < 1 or width % self.groups or hidden % self.groups:
                raise InputError(
                    f"groups: {self.groups}, expected a divisor of the width {width} and of the bottleneck "
                    f"{width} // {self.reduction}"
                )
        return self


class LavishAdapter(nn.Module):
    """`f(X, Y)` of one modality at one place.

    Args:
        width: D.
        reduction, groups, latents, batch_norm: as in `LavishConfig`; without latents Y is not read.
        gate: multiply the output by a trained scalar, zero at first.
        norm_before, norm_after: normalise the bottleneck's input and output over D.
    """

    def __init__(
        self,
        width: int,
        *,
        reduction: int,
        groups: int,
        latents: int,
        batch_norm: bool,
        gate: bool = True,
        norm_before: bool = True,
        norm_after: bool = True,
    ) -> None:
        super().__init__()
        hidden = width // reduction
        self.groups = groups
        self.latents = nn.Parameter(torch.rand(latents, width)) if latents else None
        self.exchange_gate = nn.Parameter(torch.zeros(1)) if latents else None
        self.gate = nn.Parameter(torch.zeros(1)) if gate else None
        self.norm_before = nn.LayerNorm(width, eps=1e-5) if norm_before else nn.Identity()
        self.norm_after = nn.LayerNorm(width, eps=1e-5) if norm_after else nn.Identity()
        self.down = nn.Parameter(torch.empty(hidden, width // groups))
        self.up = nn.Parameter(torch.empty(width, hidden // groups))
        for weight in (self.down, self.up):
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
        self.batch_norm1 = BatchNorm(hidden) if batch_norm else None
        self.batch_norm2 = BatchNorm(width) if batch_norm else None

    def forward(self, x: Tensor, other: Tensor | None, keep: Tensor | None = None) -> Tensor:
        """Return the update of the tokens.

        Args:
            x: `[F, N, D]`, the tokens of F frames or segments.
            other: `[F, N_o, D]`, those of the other modality; None without latents.
            keep: `[F]` bool, False for the frames that batch statistics leave out; None for all frames.
        """
        if self.latents is not None and self.exchange_gate is not None and other is not None:
            latents = self.latents.to(x.dtype).expand(x.shape[0], -1, -1)
            latents = latents + cross_attend(latents, other)
            x = torch.addcmul(x, self.exchange_gate.to(x.dtype), cross_attend(x, latents))
        n = self.norm_before(x)
        u = functional.relu(_normed(self.batch_norm1, _grouped_linear(n, self.down, self.groups), keep))
        y: Tensor = self.norm_after(_normed(self.batch_norm2, _grouped_linear(u, self.up, self.groups), keep))
        return y if self.gate is None else self.gate.to(y.dtype) * y


def _grouped_linear(x: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Apply a block-diagonal layer: `[F, N, C]` with `[C', C / groups]` → `[F, N, C']`."""
    F, N, C = x.shape
    inputs = x.reshape(F * N, groups, C // groups).transpose(0, 1)
    outputs = torch.bmm(inputs, weight.view(groups, -1, C // groups).transpose(1, 2))
    return outputs.transpose(0, 1).reshape(F, N, -1)


def _normed(norm: BatchNorm | None, x: Tensor, keep: Tensor | None) -> Tensor:
    """Normalise `[F, N, C]` over all tokens of the frames in `keep`."""
    if norm is None:
        return x
    y: Tensor = norm(x.flatten(0, 1), keep).view(x.shape)
    return y


class LavishBlock(BlockAdapter):
    """The adapters of one block: one beside the attention, one beside the MLP, for each modality."""

    def __init__(self, config: ModelConfig, site: BlockSite) -> None:
        super().__init__()
        adapter: Any = config.adapter
        options: Mapping[str, Any] = {
            "reduction": adapter.reduction,
            "groups": adapter.groups,
            "latents": adapter.latents if config.fused else 0,
            "batch_norm": adapter.batch_norm,
        }
        self.places = nn.ModuleDict(
            {
                place: nn.ModuleDict({m: LavishAdapter(site.width, **options) for m in config.modalities})
                for place in _PLACES
            }
        )

    def forward(self, x: Tensor, frozen: FrozenBlock) -> Tensor:
        added = self._read("attention", x, frozen)
        x = frozen.add_tokens(frozen.run_attention(x), added)
        added = self._read("mlp", x, frozen)
        return frozen.add_tokens(frozen.run_mlp(x), added)

    def _read(self, place: str, x: Tensor, frozen: FrozenBlock) -> Tensor:
        """Return the updates of a place, joined; every modality is read before any is written."""
        parts = [part.flatten(0, 1) for part in frozen.split(x)]
        others = parts[::-1] if len(parts) == 2 else [None]
        keep = None if frozen.frame_mask is None else frozen.frame_mask.flatten()
        adapters: Any = self.places[place]
        rows = zip(adapters.values(), parts, others, strict=True)
        updates = [adapter(own, other, keep) for adapter, own, other in rows]
        return frozen.join([u.view(-1, frozen.steps, *u.shape[1:]) for u in updates])


ADAPTER = AdapterMethod(config=LavishConfig, block=LavishBlock)
