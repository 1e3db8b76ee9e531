"""Scores of AVC: accuracy and average precision by class, and the meter that they follow from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ...model.heads.avc import LABELS_PER_CLIP
from ..fields import field
from ..metrics.average_precision import average_precision
from .meter import ConfusionMatrix, Meter, ScoreRow, TaskResult, Tensors, share

TOP = 5
"""Number of likeliest classes among which the true one counts as found."""
# A line of metrics.jsonl holds the score of every class, and a result the confusion of all pairs, but not of
# a collection with thousands.
_MOST_CLASSES_LISTED = 512


@dataclass(frozen=True)
class ClassScore:
    """The scores of one class.

    Attributes:
        clips: number of clips with the class.
        average_precision: of all clips ranked by the class's score; None without such a clip.
        right: number of its clips whose likeliest class it is; None where a clip has several labels.
    """

    clips: int
    average_precision: float | None
    right: int | None

    def __post_init__(self) -> None:
        if self.clips < 0 or not 0 <= (self.right or 0) <= self.clips:
            raise ValueError(f"by_class has {self.right} of {self.clips} clips, expected 0 to all")

    @property
    def share(self) -> float | None:
        """The share of its clips that are right, or the average precision."""
        return self.average_precision if self.right is None else share(self.right, self.clips)


@dataclass(frozen=True)
class AvcResult(TaskResult):
    """Scores by class.

    Attributes:
        labels_per_clip: `one` or `several`.
        by_class: scores by the name of the class.
        found: number of clips whose class is among the five likeliest; None where a clip has several labels.
        confusion: `confusion[i][j]` clips of class i were predicted as class j; None for many classes, and
            where a clip has several labels.
    """

    labels_per_clip: str
    by_class: Mapping[str, ClassScore]
    found: int | None
    confusion: tuple[tuple[int, ...], ...] | None

    def __post_init__(self) -> None:
        expected = len(self.by_class)
        if not expected:
            raise ValueError("by_class has no class")
        one = self.labels_per_clip == "one"
        if self.labels_per_clip not in LABELS_PER_CLIP:
            raise ValueError(
                f"labels_per_clip is {self.labels_per_clip!r}, expected {' or '.join(LABELS_PER_CLIP)}"
            )
        if one != (self.found is not None) or any(
            one != (s.right is not None) for s in self.by_class.values()
        ):
            raise ValueError(f"found and right are for one label per clip, not for {self.labels_per_clip}")
        rows = self.confusion
        if rows is not None and (len(rows) != expected or any(len(row) != expected for row in rows)):
            raise ValueError(f"confusion is not {expected} × {expected}, as by_class has {expected} classes")
        if rows is not None and any(count < 0 for row in rows for count in row):
            raise ValueError("confusion has a number below 0")

    @property
    def score(self) -> float:
        value = self.mean_average_precision if self.found is None else self.accuracy
        return math.nan if value is None else value

    @property
    def accuracy(self) -> float | None:
        """The share of clips whose likeliest class is right."""
        return share(sum(one.right or 0 for one in self.by_class.values()), self._labels)

    @property
    def mean_average_precision(self) -> float | None:
        """The mean of the average precisions of the classes that occur."""
        found = [one.average_precision for one in self.by_class.values() if one.average_precision is not None]
        return sum(found) / len(found) if found else None

    @property
    def _labels(self) -> int:
        return sum(one.clips for one in self.by_class.values())

    def metrics(self) -> dict[str, float | None]:
        listed = self.by_class if len(self.by_class) <= _MOST_CLASSES_LISTED else {}
        if self.found is None:
            parts = {f"average_precision/{name}": one.share for name, one in listed.items()}
            return {"map": self.mean_average_precision} | parts
        whole = {
            "accuracy": self.accuracy,
            "accuracy_at_5": share(self.found, self._labels),
            "map": self.mean_average_precision,
        }
        return whole | {f"accuracy/{name}": one.share for name, one in listed.items()}

    def rows(self) -> list[ScoreRow]:
        return [ScoreRow(name, one.share, one.clips) for name, one in self.by_class.items()]

    def confusion_matrix(self) -> ConfusionMatrix | None:
        return None if self.confusion is None else ConfusionMatrix(tuple(self.by_class), self.confusion)

    def to_json(self) -> dict[str, Any]:
        wholes = {name: value for name, value in self.metrics().items() if "/" not in name}
        return wholes | {
            "labels_per_clip": self.labels_per_clip,
            "found": self.found,
            "by_class": {
                name: {"clips": one.clips, "average_precision": one.average_precision, "right": one.right}
                for name, one in self.by_class.items()
            },
            "confusion": None if self.confusion is None else [list(row) for row in self.confusion],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        by_class = field(content, "by_class", dict[str, dict[str, Any]])
        confusion = field(content, "confusion", list[list[int]] | None)
        return cls(
            field(content, "labels_per_clip", str),
            {
                name: ClassScore(
                    field(one, "clips", int),
                    field(one, "average_precision", float | None),
                    field(one, "right", int | None),
                )
                for name, one in by_class.items()
            },
            field(content, "found", int | None),
            None if confusion is None else tuple(map(tuple, confusion)),
        )


class ClipMeter(Meter):
    """Collects scores and labels of clips. Of equal scores the lower class counts first."""

    def __init__(self, classes: tuple[str, ...], *, several: bool) -> None:
        super().__init__()
        self.classes, self.several = classes, several
        empty = np.zeros((0, len(classes)), dtype=np.float32)
        self.rows = {"scores": [empty], "tags": [empty]}

    def update(self, outputs: Tensors, targets: Tensors) -> None:
        logits, tags = outputs["logits"], targets["tags"]
        if logits.shape != tags.shape:
            raise ValueError(f"logits are {tuple(logits.shape)}, labels {tuple(tags.shape)}")
        # Clips are ranked by shares, which depend on all logits of a clip; sigmoids keep the order of logits.
        scores = logits if self.several else logits.log_softmax(-1)
        self.rows["scores"].append(np.nan_to_num(scores.numpy(), nan=-np.inf, neginf=-np.inf, posinf=np.inf))
        self.rows["tags"].append(tags.numpy())

    def result(self) -> AvcResult:
        scores, tags = (np.concatenate(self.rows[name]) for name in ("scores", "tags"))
        true = tags > 0
        precisions = [average_precision(scores[:, index], true[:, index]) for index in range(true.shape[1])]
        found = confusion = right = None
        if not self.several:
            labels, order = true.argmax(1), np.argsort(-scores, axis=1, kind="stable")
            found = int((order[:, :TOP] == labels[:, None]).any(1).sum())
            right = np.bincount(labels[order[:, 0] == labels], minlength=len(self.classes)).tolist()
            if len(self.classes) <= _MOST_CLASSES_LISTED:
                counts = np.zeros((len(self.classes),) * 2, dtype=int)
                np.add.at(counts, (labels, order[:, 0]), 1)
                confusion = tuple(map(tuple, counts.tolist()))
        by_class = {
            name: ClassScore(
                int(true[:, index].sum()),
                None if math.isnan(precisions[index]) else precisions[index],
                None if right is None else right[index],
            )
            for index, name in enumerate(self.classes)
        }
        return AvcResult("several" if self.several else "one", by_class, found, confusion)
