"""Dropout and DropPath whose draws do not depend on how a batch is divided.

A batch may be worked off in parts: by several processes, or in turns on one device. Each part then draws the
noise of the whole batch from the same seed and takes its own rows, so that the parts together do what one
pass over the whole batch does.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Part:
    """Items `[first, first + count)` of the `total` items of a batch; an item is a clip or a question."""

    first: int
    count: int
    total: int

    def __post_init__(self) -> None:
        if self.first < 0 or self.count < 1 or self.first + self.count > self.total:
            raise ValueError(f"part is {self}, must lie within its total")


class RowNoise(nn.Module):
    """What layers that drop have in common: the part of the batch that they see.

    `of` is what their rows belong to, `clips` or `questions`; an item may have several rows, one after the
    other. Without a part, they see the whole batch.
    """

    def __init__(self, drop_prob: float, of: str = "clips") -> None:
        super().__init__()
        self.drop_prob = drop_prob
        self.of = of
        self.part: Part | None = None

    def extra_repr(self) -> str:
        return f"{self.drop_prob}"

    def kept(self, x: Tensor, columns: tuple[int, ...]) -> Tensor:
        """A mask `[rows of x, *columns]` of 0 and `1 / (1 − drop_prob)`."""
        keep = 1 - self.drop_prob
        rows, part = x.shape[0], self.part
        if part is None:
            return x.new_empty((rows, *columns)).bernoulli_(keep).div_(keep)
        each = rows // part.count
        whole = x.new_empty((part.total * each, *columns)).bernoulli_(keep).div_(keep)
        return whole[part.first * each : part.first * each + rows]


class Dropout(RowNoise):
    """Drops single values."""

    def forward(self, x: Tensor) -> Tensor:
        """`[rows, ...]` → the same."""
        if not self.training or self.drop_prob == 0:
            return x
        return x * self.kept(x, tuple(x.shape[1:]))


class DropPath(RowNoise):
    """Drops whole rows (stochastic depth, arXiv 1603.09382)."""

    def forward(self, x: Tensor) -> Tensor:
        """`[rows, ...]` → the same."""
        if not self.training or self.drop_prob == 0:
            return x
        return x * self.kept(x, (1,) * (x.dim() - 1))


def replace_drop_paths(backbone: nn.Module) -> None:
    """Gives every block of a timm backbone drop paths that know of parts, at the rates that timm gave it."""
    from timm.layers import DropPath as WholeDropPath

    for module in list(backbone.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, WholeDropPath):
                setattr(module, name, DropPath(float(child.drop_prob or 0.0)))


def set_parts(model: nn.Module, *, clips: Part | None = None, questions: Part | None = None) -> None:
    """Tells every layer of `model` that drops which part of the batch the next pass sees."""
    parts = {"clips": clips, "questions": questions if questions is not None else clips}
    for module in model.modules():
        if isinstance(module, RowNoise):
            module.part = parts[module.of]
