"""AVE: the class of every second. Loss: cross-entropy. Score: the share of seconds that are right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ...errors import StgcmaError
from ...shards.members import class_name, member, read_labels
from ...shards.storage import Location
from ..fields import field
from ..sections import LossConfig
from .base import Task, Terms, stack
from .members import split_members
from .meter import ConfusionMatrix, Meter, ScoreRow, TaskResult, Tensors, share

# A line of metrics.jsonl holds the accuracy of every class, but not of a collection with thousands.
_MOST_CLASSES_LISTED = 512


@dataclass(frozen=True)
class AveResult(TaskResult):
    """Accuracy by class. `confusion[i][j]`: seconds of class i that were predicted as class j."""

    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        expected = len(self.classes)
        if not expected:
            raise ValueError("by_class has no class")
        if len(self.confusion) != expected or any(len(row) != expected for row in self.confusion):
            raise ValueError(f"confusion is not {expected} × {expected}, as by_class has {expected} classes")
        if any(seconds < 0 for row in self.confusion for seconds in row):
            raise ValueError("confusion has a number below 0")

    @property
    def score(self) -> float:
        return _accuracy(np.array(self.confusion))

    @property
    def seconds(self) -> list[int]:
        """The seconds of each class."""
        return [sum(row) for row in self.confusion]

    def by_class(self) -> dict[str, float | None]:
        """Return the share of each class's seconds that are right; None for a class without seconds."""
        rows = enumerate(zip(self.classes, self.confusion, strict=True))
        return {name: share(row[index], sum(row)) for index, (name, row) in rows}

    def metrics(self) -> dict[str, float | None]:
        listed = self.by_class() if len(self.classes) <= _MOST_CLASSES_LISTED else {}
        accuracy = None if math.isnan(self.score) else self.score
        return {"accuracy": accuracy} | {f"accuracy/{name}": value for name, value in listed.items()}

    def rows(self) -> list[ScoreRow]:
        shares = self.by_class().items()
        return [
            ScoreRow(name, value, count) for (name, value), count in zip(shares, self.seconds, strict=True)
        ]

    def confusion_matrix(self) -> ConfusionMatrix:
        return ConfusionMatrix(self.classes, self.confusion)

    def to_json(self) -> dict[str, Any]:
        seconds = self.seconds
        most = int(np.argmax(seconds))
        return {
            "accuracy": self.score,
            "seconds": sum(seconds),
            "by_class": self.by_class(),
            "confusion": [list(row) for row in self.confusion],
            "majority": {"class": self.classes[most], "accuracy": share(seconds[most], sum(seconds))},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        names = field(content, "by_class", dict[str, float | None])
        confusion = field(content, "confusion", list[list[int]])
        return cls(tuple(names), tuple(map(tuple, confusion)))


def _accuracy(confusion: npt.NDArray[Any]) -> float:
    """Return the share of seconds on the diagonal; NaN without seconds."""
    return float(confusion.trace() / confusion.sum()) if confusion.sum() else float("nan")


class AveTask(Task):
    """Events by second: the class of every second of a clip."""

    name = "ave"
    score_name = "accuracy"
    result_type = AveResult
    collection = "ave"

    def model_options(self) -> dict[str, Any]:
        return {"classes": len(self.info.classes), "frames": self.info.features["sampling"]["frames"]}

    def targets(self, members: dict[str, bytes], question: int) -> Tensors:  # noqa: ARG002
        labels = read_labels(member(members, "label.npy"))
        frames = self.info.features["sampling"]["frames"]
        if len(labels) != frames:
            raise StgcmaError(f"label.npy has {len(labels)} seconds, expected {frames}")
        for label in set(labels):
            class_name(self.info.classes, label)
        return {"labels": torch.tensor(labels, dtype=torch.int64)}

    def collate(self, targets: list[Tensors]) -> tuple[Tensors, Tensors]:
        return {}, stack(targets)

    def weights(self, loss: LossConfig) -> dict[str, float]:  # noqa: ARG002
        return {"class": 1.0}

    def counts(self, targets: Tensors, weight: Tensor) -> dict[str, float]:
        seconds = float(weight.sum()) * targets["labels"].shape[1]
        return {"class": seconds, "score": seconds}

    def terms(self, outputs: Tensors, targets: Tensors, weight: Tensor, loss: LossConfig) -> Terms:  # noqa: ARG002
        logits, labels = outputs["logits"].float(), targets["labels"]
        counted = weight[:, None].expand(labels.shape)
        costs = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        right = (logits.detach().argmax(-1) == labels) * counted
        return Terms(losses={"class": (costs * counted.flatten()).sum()}, score=right.sum())

    def meter(self) -> SecondsMeter:
        return SecondsMeter(self.info.classes)

    def baselines(self, shards: Location, split: str) -> dict[str, float]:
        """Return the accuracy of the training split's most frequent class in every second."""
        trained, true = _labels(shards, "train"), _labels(shards, split)
        if not len(trained) or not len(true):
            return {}
        return {"most frequent class": float((true == np.bincount(trained).argmax()).mean())}


def _labels(shards: Location, split: str) -> npt.NDArray[Any]:
    """Return the labels of all seconds of a split, one clip after the other."""
    found = [read_labels(content) for _, content in split_members(shards, split, ("label.npy",))]
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int16)


class SecondsMeter(Meter):
    """Counts seconds by true and predicted class. Of equal logits the lower class counts, as in `argmax`."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.classes = classes
        self.counts["confusion"] = np.zeros((len(classes), len(classes)))

    def update(self, outputs: Tensors, targets: Tensors) -> None:
        predicted, true = outputs["logits"].argmax(-1), targets["labels"]
        if predicted.shape != true.shape:
            raise ValueError(f"logits are for {tuple(predicted.shape)}, labels {tuple(true.shape)}")
        np.add.at(self.counts["confusion"], (true.numpy().ravel(), predicted.numpy().ravel()), 1)

    def score(self) -> float:
        return _accuracy(self.counts["confusion"])

    def result(self) -> AveResult:
        rows = self.counts["confusion"].astype(int).tolist()
        return AveResult(self.classes, tuple(map(tuple, rows)))


TASK = AveTask
