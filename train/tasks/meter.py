"""Meters count over the clips of a split; results are the scores that follow from the counts."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class ScoreRow:
    """One row of a table of scores.

    Attributes:
        name: of the row, for a person.
        share: the score, in [0, 1]; None when nothing was counted.
        count: seconds, frames or questions that the score is a mean over.
        kind: `part` for a part of the split, `sum` for several parts together, `score` for the task's score.
    """

    name: str
    share: float | None
    count: int
    kind: Literal["part", "sum", "score"] = "part"


@dataclass(frozen=True)
class ConfusionMatrix:
    """`counts[i][j]`: items of class i that were predicted as class j, in the order of `names`."""

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


class TaskResult(ABC):
    """All scores of one task on one split."""

    @property
    @abstractmethod
    def score(self) -> float:
        """The task's score, a share; NaN when nothing was counted."""

    @abstractmethod
    def metrics(self) -> dict[str, float | None]:
        """Return every score by name, the task's score first; None where nothing was counted.

        Names with a `/` are scores of a part of the split, such as `accuracy/Visual Counting`.
        """

    @abstractmethod
    def rows(self) -> list[ScoreRow]:
        """Return the scores as rows of a table for a person."""

    def confusion_matrix(self) -> ConfusionMatrix | None:
        """Return the confusion matrix; None for a task without one."""
        return None

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return the task's fields of `evaluation-SPLIT.json`."""

    @classmethod
    @abstractmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned. Raises ValueError naming the field at fault."""


class Meter(ABC):
    """Counts over the clips of a split.

    Attributes:
        counts: by name; counts of parts of a split add up to those of the whole.
        rows: by name, arrays `[clips, …]` of numbers, one row for every clip of a batch, for scores that do
            not follow from sums; those of parts of a split are joined in the order of the manifest.
    """

    def __init__(self) -> None:
        self.counts: dict[str, npt.NDArray[np.float64]] = {}
        self.rows: dict[str, list[npt.NDArray[Any]]] = {}

    @abstractmethod
    def update(self, outputs: Tensors, targets: Tensors) -> None:
        """Count a batch: the model's outputs against the targets, both on the CPU."""

    @abstractmethod
    def result(self) -> TaskResult:
        """Return the scores of all that was counted."""

    def score(self) -> float:
        """Return the task's score, a share; NaN when nothing was counted."""
        return self.result().score

    def scores(self) -> dict[str, float]:
        """Return every score by name, the task's score first; NaN where nothing was counted."""
        return {name: math.nan if value is None else value for name, value in self.result().metrics().items()}


def share(part: float, whole: float) -> float | None:
    """Return `part / whole`, or None when `whole` is 0."""
    return float(part / whole) if whole else None
