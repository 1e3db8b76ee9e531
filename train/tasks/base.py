"""What every task has to say: what it reads of a clip, what an error costs, how it is scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...model import ModelConfig
from ...shards.schema import DatasetInfo
from ..config import LossConfig

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Terms:
    """What a batch costs, as sums that parts of a batch add up; `Task.counts` says what to divide by.

    Attributes:
        losses: name to the sum of that loss.
        score: the sum of the task's score while training, under the name `score`.
    """

    losses: Tensors
    score: Tensor


class Meter(ABC):
    """Counts over the clips of a split from which the scores follow. Counts of parts of a split add up."""

    def __init__(self) -> None:
        self.counts: dict[str, npt.NDArray[np.float64]] = {}

    @abstractmethod
    def update(self, outputs: Tensors, targets: Tensors) -> None:
        """Counts a batch: the model's outputs against the targets, both on the CPU."""

    @abstractmethod
    def score(self) -> float:
        """The task's one score, a share; NaN when nothing was counted."""

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """All scores and counts, ready for JSON."""


class Task(ABC):
    """One task on one collection.

    Attributes:
        name: as in presets and `dataset.json`.
        score_name: what is counted, one word; the key of the score in results.
    """

    name: ClassVar[str]
    score_name: ClassVar[str]

    def __init__(self, info: DatasetInfo) -> None:
        self.info = info

    @abstractmethod
    def model_options(self) -> dict[str, Any]:
        """The fields of `ModelConfig` that the collection decides."""

    def check_model(self, config: ModelConfig, *, where: str) -> None:
        """Raises InputError when a trained model does not fit the collection."""
        from ...errors import InputError

        if config.task != self.name:
            raise InputError(f"{where} is made for {self.name}, the model is for {config.task}")
        for name, value in self.model_options().items():
            if getattr(config, name) != value:
                raise InputError(f"{where} needs {name} {value}, the model has {getattr(config, name)}")

    @abstractmethod
    def targets(self, members: dict[str, bytes], question: int) -> Tensors:
        """What a clip's members say is right; `question` as in `order.Item`."""

    @abstractmethod
    def collate(self, targets: list[Tensors]) -> tuple[Tensors, Tensors]:
        """The clips' targets as a batch: what the model gets besides sight and sound, and the targets."""

    @abstractmethod
    def weights(self, loss: LossConfig) -> dict[str, float]:
        """Name to weight of every loss: the whole is `Σ weight · sum / count`."""

    @abstractmethod
    def counts(self, targets: Tensors, weight: Tensor) -> dict[str, float]:
        """What each loss and the `score` are means over. `weight` `[B]` is 0 for clips that do not count."""

    @abstractmethod
    def terms(self, outputs: Tensors, targets: Tensors, weight: Tensor, loss: LossConfig) -> Terms:
        """The losses of a batch, summed over what `counts` counts."""

    @abstractmethod
    def meter(self) -> Meter:
        """A new, empty meter."""


def stack(targets: list[Tensors]) -> Tensors:
    """Every target of equal shape, stacked."""
    return {name: torch.stack([one[name] for one in targets]) for name in targets[0]}


def share(part: float, whole: float) -> float | None:
    """`part / whole`, None of nothing."""
    return float(part / whole) if whole else None
