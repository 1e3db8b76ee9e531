"""Dropout and DropPath whose draws do not depend on how a batch is divided.

A batch may be divided into micro-batches: over several processes, or in turns on one device. Every pass over
a micro-batch draws the noise of the whole batch from the same seed and uses the rows of its slice, so that
the passes together equal one pass over the whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class BatchSlice:
    """Items `[first, first + count)` of the `total` items of a batch; an item is a clip or a question."""

    first: int
    count: int
    total: int

    def __post_init__(self) -> None:
        if self.first < 0 or self.count < 1 or self.first + self.count > self.total:
            raise ValueError(f"slice is {self}, must lie within its total")


class RowNoise(nn.Module):
    """Base of the layers that drop values: the drop probability and the slice of the batch.

    `of` names the items that the rows belong to, `clips` or `questions`; an item may have several rows, one
    after the other. Without a slice, the rows are the whole batch.

    `offset`, where it is set by `share_offsets`, is the first item of the slice as a tensor: a compiled pass
    reads it, where it would be compiled anew for each number.
    """

    def __init__(self, drop_prob: float, of: str = "clips") -> None:
        super().__init__()
        self.drop_prob = drop_prob
        self.of = of
        self.batch_slice: BatchSlice | None = None
        self.offset: Tensor | None = None

    def extra_repr(self) -> str:
        return f"{self.drop_prob}"

    def draw_mask(self, x: Tensor, columns: tuple[int, ...]) -> Tensor:
        """Draw a mask `[rows of x, *columns]` of 0 and `1 / (1 − drop_prob)`."""
        keep = 1 - self.drop_prob
        rows, part = x.shape[0], self.batch_slice
        if part is None:
            return x.new_empty((rows, *columns)).bernoulli_(keep).div_(keep)
        each = rows // part.count
        whole = x.new_empty((part.total * each, *columns)).bernoulli_(keep).div_(keep)
        if self.offset is not None:
            return whole.index_select(0, self.offset * each + torch.arange(rows, device=x.device))
        return whole[part.first * each : part.first * each + rows]


class Dropout(RowNoise):
    """Drops single values."""

    def forward(self, x: Tensor) -> Tensor:
        """`[rows, ...]` → the same."""
        if not self.training or self.drop_prob == 0:
            return x
        return x * self.draw_mask(x, tuple(x.shape[1:]))


class DropPath(RowNoise):
    """Drops whole rows (stochastic depth, arXiv 1603.09382)."""

    def forward(self, x: Tensor) -> Tensor:
        """`[rows, ...]` → the same."""
        mask = drop_mask(self, x)
        return x if mask is None else x * mask


def drop_mask(drop: nn.Module, x: Tensor) -> Tensor | None:
    """Draw the mask with which a drop path multiplies an update of `x` `[rows, ...]`; None for no change."""
    if not isinstance(drop, DropPath) or not drop.training or drop.drop_prob == 0:
        return None
    return drop.draw_mask(x, (1,) * (x.dim() - 1))


def replace_drop_paths(backbone: nn.Module) -> None:
    """Replace the drop paths of a timm backbone with `DropPath` at the same rates."""
    from timm.layers import DropPath as WholeDropPath

    for module in list(backbone.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, WholeDropPath):
                setattr(module, name, DropPath(float(child.drop_prob or 0.0)))


def set_batch_slices(
    model: nn.Module, *, clips: BatchSlice | None = None, questions: BatchSlice | None = None
) -> None:
    """Set the slice of the batch that the next pass computes in every `RowNoise` layer of `model`.

    Without `questions`, layers whose rows are questions use the slice of the clips.
    """
    slices = {"clips": clips, "questions": questions if questions is not None else clips}
    offsets: dict[str, Tensor] = {}
    for module in model.modules():
        if isinstance(module, RowNoise):
            module.batch_slice = slices[module.of]
            if module.offset is not None:
                offsets[module.of] = module.offset
    for of, offset in offsets.items():
        part = slices[of]
        offset.fill_(0 if part is None else part.first)


def share_offsets(model: nn.Module, device: torch.device) -> None:
    """Let every `RowNoise` layer of `model` read the beginning of its slice from a tensor on `device`."""
    shared: dict[str, Tensor] = {}
    for module in model.modules():
        if isinstance(module, RowNoise):
            start = torch.zeros((), dtype=torch.int64, device=device)
            module.offset = shared.setdefault(module.of, start)
