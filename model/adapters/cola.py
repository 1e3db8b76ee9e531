"""CoLA: LoRA, and a second low-rank change whose core is computed from the other modality."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import InputError
from ..checks import check_integer, check_number, integers
from ..config import ModelConfig
from ..records import AdapterConfig, AdapterMethod, BackboneConfig
from .base import BlockAdapter, BlockSite, Edit, FrozenBlock, Layer
from .lora import LEARNING_RATES, PROJECTIONS, LoraBlock, LowRank
from .placement import odd_blocks

_EPS = 1e-6
_DEFAULT_REDUCTION = 16


@dataclass(frozen=True, kw_only=True)
class ColaConfig(AdapterConfig):
    """The options of CoLA.

    Attributes:
        rank: r, of each change.
        alpha: changes that do not depend on the other modality are multiplied by `alpha / rank`.
        hyper_reduction: D / q per stage, where q is the inner width of the networks that compute the cores;
            one number stands for all stages. None is 16 for one stage, and grows as D does for several.
    """

    method = "cola"

    rank: int = 16
    alpha: float = 8.0
    hyper_reduction: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check_integer("rank", self.rank, most=256)
        check_number("alpha", self.alpha, below=1e6)

    @classmethod
    def learning_rate(cls, task: str) -> float | None:
        return LEARNING_RATES.get(task)

    def fitted(self, backbone: BackboneConfig) -> ColaConfig:
        """Return the record with one reduction for each stage."""
        if self.hyper_reduction is None:
            first = _DEFAULT_REDUCTION >> (backbone.stages - 1)
            reductions = tuple(max(first << stage, 1) for stage in range(backbone.stages))
        else:
            reductions = integers("hyper_reduction", self.hyper_reduction, most=16_384)
            reductions = reductions * backbone.stages if len(reductions) == 1 else reductions
        if len(reductions) != backbone.stages:
            raise InputError(f"hyper_reduction: {reductions!r}, expected one number, or {backbone.stages}")
        for width, reduction in zip(backbone.widths, reductions, strict=True):
            if width < reduction:
                raise InputError(f"hyper_reduction: {reduction}, expected at most the width {width}")
        return dataclasses.replace(self, hyper_reduction=reductions)


class Core(nn.Module):
    """`Φ = LN(reshape(W2·LN(GELU(W1·v + b1)) + b2))`, `[r, r]`, from a vector v of the other modality."""

    def __init__(self, other: int, inner: int, rank: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(other, inner), nn.Linear(inner, rank * rank)
        self.norm_inner = nn.LayerNorm(inner, eps=_EPS)
        self.norm = nn.LayerNorm([rank, rank], eps=_EPS)

    def forward(self, v: Tensor) -> Tensor:
        """`[F, d_o]` → `[F, r, r]`."""
        u = self.fc2(self.norm_inner(functional.gelu(self.fc1(v))))
        return self.norm(u.view(v.shape[0], *self.norm.normalized_shape))  # type: ignore[no-any-return]


class CrossLowRank(nn.Module):
    """`s·B·A·x + λ·B_c·Φ·A_c·x`, to be added to a frozen layer's output.

    `cross_down` is A_c `[n·r, d_in]`, `cross_up` is B_c `[d_out, r]`, zero at first, for `projections` layers
    one below the other, each with its Φ and its λ, `weight`.
    """

    def __init__(
        self, inputs: int, outputs: int, *, other: int, rank: int, alpha: float, inner: int, projections: int
    ) -> None:
        super().__init__()
        self.own = LowRank(inputs, outputs, rank=rank, alpha=alpha, enabled=(True,) * projections)
        cross = LowRank(inputs, outputs, rank=rank, alpha=rank, enabled=(True,) * projections)
        self.cross_down, self.cross_up = cross.down, cross.up
        self.weight = nn.Parameter(torch.full((projections,), 0.1))
        self.cores = nn.ModuleList(Core(other, inner, rank) for _ in range(projections))

    def forward(self, x: Tensor, v: Tensor) -> Tensor:
        """`[F, ..., d_in]`, and a vector `[F, d_o]` of the other modality for each → `[F, ..., d_out]`."""
        count = len(self.cores)
        parts = zip(
            functional.linear(x, self.own.down).chunk(count, dim=-1),
            functional.linear(x, self.cross_down).chunk(count, dim=-1),
            self.cores,
            self.own.up.chunk(count),
            self.cross_up.chunk(count),
            self.weight,
            strict=True,
        )
        changes = []
        for u, w, core, up, cross_up, weight in parts:
            crossed = torch.bmm(w.flatten(1, -2), core(v).to(w.dtype).transpose(1, 2)).view(w.shape)
            # One product instead of two sums as wide as the output.
            both = torch.cat([self.own.scale * up, weight * cross_up], dim=1)
            changes.append(functional.linear(torch.cat([u, crossed], dim=-1), both))
        return torch.cat(changes, dim=-1) if count > 1 else changes[0]


class ColaBlock(BlockAdapter):
    """The changes of one block's linear layers, per modality, each of which depends on the other modality."""

    def __init__(self, config: ModelConfig, site: BlockSite) -> None:
        super().__init__()
        adapter: Any = config.adapter

        def change(name: str, layer: nn.Linear) -> CrossLowRank:
            return CrossLowRank(
                layer.in_features,
                layer.out_features,
                other=site.width,
                rank=adapter.rank,
                alpha=adapter.alpha,
                inner=site.width // adapter.hyper_reduction[site.stage],
                projections=PROJECTIONS.get(name, 1),
            )

        linear = {name: layer for name, layer in site.layers.items() if isinstance(layer, nn.Linear)}
        self.changes = nn.ModuleDict(
            {m: nn.ModuleDict({name: change(name, layer) for name, layer in linear.items()})
             for m in config.modalities}
        )  # fmt: skip

    def forward(self, x: Tensor, frozen: FrozenBlock) -> Tensor:
        x = frozen.edited(self._edit(x, frozen)).run_attention(x)
        return frozen.edited(self._edit(x, frozen)).run_mlp(x)

    def _edit(self, x: Tensor, frozen: FrozenBlock) -> Edit:
        """Return the changes of the half of the block that reads `x`."""
        vectors = [frozen.summary(part.flatten(0, 1)) for part in frozen.split(x)][::-1]
        return lambda layer, inputs: self._change(layer, inputs, vectors, frozen)

    def _change(self, layer: Layer, x: Tensor, vectors: list[Tensor], frozen: FrozenBlock) -> Tensor:
        """Compute a layer of the block, with the changes of each modality where it is linear.

        `vectors` are the other modality's, `[B·T, D]`, for each modality.
        """
        y: Tensor = layer.module(x)
        changes = [of[layer.name] for of in self.changes.values() if layer.name in of]  # type: ignore[operator,index]
        if not changes:
            return y
        parts = layer.split(x)
        if layer.name == "proj":  # its vectors are those of its own input
            vectors = [frozen.summary(part.flatten(1, -2)) for part in parts][::-1]
        added = []
        for change, part, vector in zip(changes, parts, vectors, strict=True):
            frames = part.reshape(vector.shape[0], -1, part.shape[-1])
            changed = change(frames, vector)
            added.append(changed.view(*part.shape[:-1], changed.shape[-1]))
        return y + layer.join(added)


def build_block(config: ModelConfig, site: BlockSite) -> nn.Module:
    """Build a block's changes: CoLA's in odd blocks, LoRA's in the others and without exchange."""
    block = sum(config.backbone.depths[: site.stage]) + site.index
    fused = config.fused and block in odd_blocks(config.backbone)
    return ColaBlock(config, site) if fused else LoraBlock(config, site)


ADAPTER = AdapterMethod(config=ColaConfig, block=build_block)
