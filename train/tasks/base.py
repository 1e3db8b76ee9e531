"""The interface of a task: targets of a clip, losses, scores, baselines."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import InputError
from ...model import ModelConfig
from ...shards.schema import DatasetInfo
from ...shards.storage import Location
from ..sections import DataConfig, LossConfig
from .meter import Meter, TaskResult, Tensors

__all__ = ["Meter", "Task", "TaskResult", "Tensors", "Terms", "stack"]


@dataclass(frozen=True)
class Terms:
    """The losses and the score of a batch, as sums. Sums of parts of a batch add up.

    Attributes:
        losses: name to the sum of that loss; `Task.counts` gives the divisors.
        score: the sum of the score `Task.training_score_name`; `Task.counts` has its divisor as `score`.
    """

    losses: Tensors
    score: Tensor


class Task(ABC):
    """One task on one collection.

    Attributes:
        name: as in presets and `dataset.json`.
        score_name: one word; the key of the score in results. A task may choose it by the collection.
        result_type: the results of the task's meter.
        collection: the collection that the task's name stands for in `stgcma run` and `stgcma demo`.
        several_questions: a clip has several questions; a training step may use only one of them.
        needs_negatives: training needs frames of other clips besides those of the clip.
        augmentations: the settings of `data` that may change training clips.
        outputs_per_second: the model has an output for every second of a clip, not one for the whole clip.
    """

    name: ClassVar[str]
    score_name: str
    result_type: ClassVar[type[TaskResult]]
    collection: ClassVar[str]
    several_questions: ClassVar[bool] = False
    needs_negatives: ClassVar[bool] = False
    augmentations: ClassVar[frozenset[str]] = frozenset({"augment", "mixup"})
    outputs_per_second: ClassVar[bool] = True

    def __init__(self, info: DatasetInfo) -> None:
        self.info = info

    @classmethod
    def check_settings(cls, data: DataConfig, loss: LossConfig) -> None:  # noqa: ARG003
        """Raise InputError for settings that the task cannot be trained with."""
        for name in ("augment", "mixup"):
            value = getattr(data, name)
            if value and name not in cls.augmentations:
                raise InputError(f"data.{name} is {value}, {cls.name} cannot be trained with it")

    @property
    def training_score_name(self) -> str:
        """The name of the score that `terms` sums; not that of a split where this is no sum over batches."""
        return self.score_name

    @abstractmethod
    def model_options(self) -> dict[str, Any]:
        """Return the fields of `ModelConfig` that depend on the collection."""

    def check_model(self, config: ModelConfig, *, where: str) -> None:
        """Raise InputError when a trained model does not fit the collection."""
        if config.task != self.name:
            raise InputError(f"{where} is made for {self.name}, the model is for {config.task}")
        options = config.options()
        for name, value in self.model_options().items():
            if options[name] != value:
                raise InputError(f"{where} needs {name} {value}, the model has {options[name]}")

    @abstractmethod
    def targets(self, members: dict[str, bytes], question: int) -> Tensors:
        """Return the targets of a clip, read from its members; `question` as in `order.Item`."""

    @abstractmethod
    def collate(self, targets: list[Tensors]) -> tuple[Tensors, Tensors]:
        """Return the clips' targets as a batch: inputs of the model besides frames and sound, and targets."""

    @abstractmethod
    def weights(self, loss: LossConfig) -> dict[str, float]:
        """Return the weight of every loss by name. The total loss is `Σ weight · sum / count`."""

    @abstractmethod
    def counts(self, targets: Tensors, weight: Tensor) -> dict[str, float]:
        """Return the divisor of each loss and of the `score`.

        `weight` `[B]` is 0 for clips that do not count.
        """

    def summed_losses(self, loss: LossConfig) -> frozenset[str]:  # noqa: ARG002
        """Return the losses that are summed over a batch: their count is 1, whatever `counts` returns."""
        return frozenset()

    def needs_features(self, loss: LossConfig) -> bool:  # noqa: ARG002
        """Return True when a loss needs the features that the head returns with `returns_features`."""
        return False

    @abstractmethod
    def terms(self, outputs: Tensors, targets: Tensors, weight: Tensor, loss: LossConfig) -> Terms:
        """Return the losses of a batch, summed over the seconds, frames or questions that `counts` counts."""

    def scored(self, outputs: Tensors) -> Tensors:
        """Return the outputs that meters and views read, on the model's device: all of them by default.

        A task whose outputs are large computes smaller ones before they leave a GPU.
        """
        return outputs

    @abstractmethod
    def meter(self) -> Meter:
        """Return a new, empty meter."""

    @abstractmethod
    def baselines(self, shards: Location, split: str) -> dict[str, float]:
        """Return the scores on `split` of answers that ignore the clips, by name.

        Everything that a baseline knows is from the training split, or from the one that its name says. A
        score of nothing is left out or NaN.
        """

    def bounds(self, shards: Location, split: str) -> dict[str, float]:  # noqa: ARG002
        """Return the scores on `split` of answers that know its truth, by name.

        Such are the highest scores of answers of some restricted kind, and references. None is a baseline.
        """
        return {}

    def clip_of(self, outputs: Tensors, targets: Tensors, index: int) -> tuple[Tensors, Tensors]:
        """Return outputs and targets of clip `index` of a batch, as a batch of one clip."""
        rows = slice(index, index + 1)
        return (
            {name: tensor[rows] for name, tensor in outputs.items()},
            {name: tensor[rows] for name, tensor in targets.items()},
        )

    def clip_score(self, outputs: Tensors, targets: Tensors) -> float:
        """Return the task's score of a batch of one clip; 0 if nothing in it was counted."""
        meter = self.meter()
        meter.update(outputs, targets)
        score = meter.score()
        return 0.0 if math.isnan(score) else score


def stack(targets: list[Tensors]) -> Tensors:
    """Return the targets of equal shape, stacked."""
    return {name: torch.stack([one[name] for one in targets]) for name in targets[0]}
