"""AVE: the class of every second; cross-entropy, and the share of seconds right."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...errors import StgcmaError
from ...shards.members import class_name, member, read_labels
from ..config import LossConfig
from .base import Meter, Task, Tensors, Terms, share, stack


class AveTask(Task):
    """What happens in every second."""

    name = "ave"
    score_name = "accuracy"

    def model_options(self) -> dict[str, Any]:
        return {"classes": len(self.info.classes), "frames": self.info.features["sampling"]["frames"]}

    def targets(self, members: dict[str, bytes], question: int) -> Tensors:  # noqa: ARG002  # it has none
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


class SecondsMeter(Meter):
    """The share of seconds whose class is right. Of equal logits the lower class counts, as in `argmax`."""

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
        confusion = self.counts["confusion"]
        return float(confusion.trace() / confusion.sum()) if confusion.sum() else float("nan")

    def by_class(self) -> list[float | None]:
        """The share of each class's seconds that are right; None for a class without seconds."""
        confusion = self.counts["confusion"]
        return [share(row[index], row.sum()) for index, row in enumerate(confusion)]

    def summary(self) -> dict[str, Any]:
        confusion = self.counts["confusion"]
        seconds = confusion.sum(axis=1)
        most = int(seconds.argmax())
        return {
            "accuracy": self.score(),
            "seconds": int(confusion.sum()),
            "by_class": dict(zip(self.classes, self.by_class(), strict=True)),
            "confusion": confusion.astype(int).tolist(),
            "majority": {"class": self.classes[most], "accuracy": share(seconds[most], seconds.sum())},
        }
