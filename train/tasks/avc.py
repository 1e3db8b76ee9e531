"""AVC: the class, or the classes, of a whole clip.

One label a clip: cross-entropy; the score is the share of clips whose likeliest class is right. Several:
binary cross-entropy of every class; the score is mAP, the mean over classes of the average precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ...errors import InputError, StgcmaError
from ...model.heads.avc import LABELS_PER_CLIP
from ...shards.members import member, read_tags
from ...shards.schema import DatasetInfo
from ...shards.storage import Location
from ..sections import LossConfig
from .avc_result import AvcResult, ClipMeter
from .base import Task, Terms, stack
from .members import split_members
from .meter import Tensors

THRESHOLD = 0.5
"""Least share of a class that is predicted for a clip, where a clip has several labels."""


class AvcTask(Task):
    """Clip classification: one class a clip, or several, as `dataset.json` says."""

    name = "avc"
    score_name = "accuracy"
    result_type = AvcResult
    collection = "vggsound"
    outputs_per_second = False

    def __init__(self, info: DatasetInfo) -> None:
        super().__init__(info)
        self.labels_per_clip: str = info.features.get("labels_per_clip", "one")
        if self.labels_per_clip not in LABELS_PER_CLIP:
            raise InputError(
                f"features.labels_per_clip is {self.labels_per_clip!r}, "
                f"expected {' or '.join(LABELS_PER_CLIP)}"
            )
        if self.several:
            self.score_name = "map"

    @property
    def several(self) -> bool:
        """True where a clip has several labels, or none."""
        return self.labels_per_clip == "several"

    @property
    def training_score_name(self) -> str:
        return "clip_average_precision" if self.several else self.score_name

    def model_options(self) -> dict[str, Any]:
        return {
            "classes": len(self.info.classes),
            "labels_per_clip": self.labels_per_clip,
            "frames": self.info.features["sampling"]["frames"],
        }

    def targets(self, members: dict[str, bytes], question: int) -> Tensors:  # noqa: ARG002
        tags = read_tags(member(members, "tags.npy"), classes=len(self.info.classes))
        if not self.several and tags.sum() != 1:
            raise StgcmaError(f"tags.npy has {tags.sum()} classes, expected one per clip")
        return {"tags": torch.from_numpy(tags).float()}

    def collate(self, targets: list[Tensors]) -> tuple[Tensors, Tensors]:
        return {}, stack(targets)

    def weights(self, loss: LossConfig) -> dict[str, float]:  # noqa: ARG002
        return {"class": 1.0}

    def counts(self, targets: Tensors, weight: Tensor) -> dict[str, float]:
        clips, tags = float(weight.sum()), targets["tags"]
        if not self.several:
            return {"class": clips, "score": clips}
        return {"class": clips * tags.shape[1], "score": float((weight * tags.any(1)).sum())}

    def terms(self, outputs: Tensors, targets: Tensors, weight: Tensor, loss: LossConfig) -> Terms:  # noqa: ARG002
        """Return the losses; the score of several labels is the mean over clips of `_ranking`.

        mAP ranks all clips of a split, so it is no sum over batches.
        """
        logits, tags = outputs["logits"].float(), targets["tags"]
        if self.several:
            costs = functional.binary_cross_entropy_with_logits(logits, tags, reduction="none").sum(1)
            right = _ranking(logits.detach(), tags)
        else:
            labels = tags.argmax(1)
            costs = functional.cross_entropy(logits, labels, reduction="none")
            right = (logits.detach().argmax(1) == labels).float()
        return Terms(losses={"class": (costs * weight).sum()}, score=(right * weight).sum())

    def shares(self, logits: Tensor) -> Tensor:
        """Return the share of every class for logits `[…, C]`: of a softmax, or of sigmoids."""
        return logits.sigmoid() if self.several else logits.softmax(-1)

    def predicted(self, shares: npt.NDArray[np.floating[Any]]) -> list[int]:
        """Return the classes that are predicted for shares `[C]`, the likeliest first.

        The likeliest one, or, where clips have several labels, those from `THRESHOLD` on; these may be none.
        """
        order = np.argsort(-shares, kind="stable")
        if not self.several:
            return [int(order[0])]
        return [int(index) for index in order if shares[index] >= THRESHOLD]

    def meter(self) -> ClipMeter:
        return ClipMeter(self.info.classes, several=self.several)

    def clip_score(self, outputs: Tensors, targets: Tensors) -> float:
        """Return the labels both true and predicted as a share of those that are either; 1 for none."""
        predicted = set(self.predicted(self.shares(outputs["logits"][0]).numpy()))
        true = set(torch.nonzero(targets["tags"][0]).flatten().tolist())
        return len(predicted & true) / len(predicted | true) if predicted | true else 1.0

    def baselines(self, shards: Location, split: str) -> dict[str, float]:
        """Return the scores of answers that follow from the training split's labels.

        `most frequent class`: its accuracy, where clips have one label. `label prior`: of one label, the
        expected accuracy of classes drawn with their frequency; of several, the mAP of every class scored by
        its frequency for all clips.
        """
        trained, true = self._tags(shards, "train"), self._tags(shards, split)
        if not len(trained) or not len(true):
            return {}
        prior, frequency = trained.mean(0), true.mean(0)
        if self.several:
            return {"label prior": float(frequency[frequency > 0].mean())} if frequency.any() else {}
        return {
            "most frequent class": float(frequency[prior.argmax()]),
            "label prior": float(prior @ frequency),
        }

    def _tags(self, shards: Location, split: str) -> npt.NDArray[np.uint8]:
        classes = len(self.info.classes)
        members = split_members(shards, split, ("tags.npy",))
        found = [read_tags(content, classes=classes) for _, content in members]
        return np.stack(found) if found else np.zeros((0, classes), dtype=np.uint8)


def _ranking(logits: Tensor, tags: Tensor) -> Tensor:
    """Return the average precision `[B]` of each clip's ranking of the classes; 0 without a label."""
    hits = tags.gather(1, logits.argsort(1, descending=True))
    precision = hits.cumsum(1) / torch.arange(1, tags.shape[1] + 1, device=tags.device)
    return (precision * hits).sum(1) / hits.sum(1).clamp(min=1)


TASK = AvcTask
