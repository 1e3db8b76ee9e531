"""AVSS: the class of every pixel that makes a sound. Losses: cross-entropy, soft Jaccard. Scores: mIoU, F.

A clip has as many frames as its members, up to those of the data set. The frames that pad it in a batch count
in no loss. In scores they count only where the name says so: the official scores include them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from ...shards.members import MASK_PIXELS, frame_names, read_class_map, read_lengths
from ...shards.storage import Location
from ..fields import field
from ..metrics.audio_visual_term import AVSS_TERM
from ..metrics.cross_entropy import frame_cross_entropy, precise
from ..metrics.semantic import (
    ClassOverlap,
    SemanticCounts,
    SemanticScores,
    frame_miou,
    predicted_classes,
)
from ..sections import LossConfig
from .avs import SMOOTHING_PIXELS, stage_features
from .base import Task, Terms, stack
from .members import split_members
from .meter import Meter, ScoreRow, TaskResult, Tensors

_MASK_MEMBERS = tuple(f"mask_{number:02d}.png" for number in range(32))
_SUMS = ("iou_sum", "f_sum", "frame_count", "intersection", "union")
_PARTS = ("official", "no_padding")
# Name of every score, its title, and where `AvssResult` has it. The score of the task comes first.
_SCORES = (
    ("miou", "mIoU, official", "official", "miou"),
    ("f_score", "F-score, official", "official", "f"),
    ("miou_no_bg", "mIoU, official noBg (without the last class)", "official", "miou_no_bg"),
    ("f_score_no_bg", "F-score, official noBg (without the last class)", "official", "f_no_bg"),
    ("miou_no_padding", "mIoU, no padded frames", "no_padding", "miou"),
    ("f_score_no_padding", "F-score, no padded frames", "no_padding", "f"),
    ("miou_foreground", "mIoU, without background", "no_padding", "miou_without_class_0"),
    ("f_score_foreground", "F-score, without background", "no_padding", "f_without_class_0"),
    ("miou_seen", "mIoU, no padded frames, classes seen", "no_padding", "miou_seen_classes"),
    ("f_score_seen", "F-score, no padded frames, classes seen", "no_padding", "f_seen_classes"),
    ("miou_seen_foreground", "mIoU, classes seen without background", "no_padding", "miou_seen_foreground"),
    ("f_score_seen_foreground", "F-score, classes seen without background", "no_padding",
     "f_seen_foreground"),
    ("iou_background", "IoU of the background, no padded frames", "no_padding", "iou_background"),
    ("miou_pooled", "mIoU, pixels pooled over the data set, classes seen", "no_padding",
     "dataset_level_miou_seen_classes"),
)  # fmt: skip


@dataclass(frozen=True)
class AvssResult(TaskResult):
    """The scores of a split; None when nothing was counted.

    Attributes:
        classes: names, background first.
        official: with padded frames, as released: a class that never occurs counts as 0.
        no_padding: of the real frames only.
        frames, padded_frames: numbers of real frames, and of those that the official scores add.
        iou: by class, mean over the real frames in which it occurs in prediction or truth; None without any.
        class_frames: by class, the number of these frames.
    """

    classes: tuple[str, ...]
    official: SemanticScores | None
    no_padding: SemanticScores | None
    frames: int
    padded_frames: int
    iou: tuple[float | None, ...]
    class_frames: tuple[int, ...]

    @property
    def score(self) -> float:
        return float("nan") if self.official is None else self.official.miou

    def metrics(self) -> dict[str, float | None]:
        return {name: value for name, _, value in self._scores()}

    def _scores(self) -> Iterator[tuple[str, str, float | None]]:
        """Yield name, title and value of every score."""
        for name, title, part, attribute in _SCORES:
            scores = getattr(self, part)
            yield name, title, None if scores is None else getattr(scores, attribute)

    def rows(self) -> list[ScoreRow]:
        padded = self.frames + self.padded_frames
        counts = {"miou": padded, "f_score": padded, "miou_no_bg": padded, "f_score_no_bg": padded}
        summed = [
            ScoreRow(title, value, counts.get(key, self.frames), kind="score" if key == "miou" else "sum")
            for key, title, value in self._scores()
        ]
        by_class = zip(self.classes, self.iou, self.class_frames, strict=True)
        return [*summed, *(ScoreRow(name, iou, frames) for name, iou, frames in by_class if frames)]

    def to_json(self) -> dict[str, Any]:
        return self.metrics() | {
            "classes_seen": 0 if self.no_padding is None else self.no_padding.classes_seen,
            "frames": self.frames,
            "padded_frames": self.padded_frames,
            "official": None if self.official is None else asdict(self.official),
            "no_padding": None if self.no_padding is None else asdict(self.no_padding),
            "classes": list(self.classes),
            "iou": list(self.iou),
            "class_frames": list(self.class_frames),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        return cls(
            classes=tuple(field(content, "classes", list[str])),
            official=_scores_of(content, "official"),
            no_padding=_scores_of(content, "no_padding"),
            frames=field(content, "frames", int),
            padded_frames=field(content, "padded_frames", int),
            iou=tuple(field(content, "iou", list[float | None])),
            class_frames=tuple(field(content, "class_frames", list[int])),
        )


def _scores_of(content: Mapping[str, Any], part: str) -> SemanticScores | None:
    values = field(content, part, dict[str, Any] | None)
    if values is None:
        return None
    kinds = {one.name: int if one.name == "classes_seen" else float | None for one in fields(SemanticScores)}
    return SemanticScores(**{name: field(values, name, kind) for name, kind in kinds.items()})


class AvssTask(Task):
    """The class of every pixel that makes a sound, in each frame; class 0 is the background."""

    name = "avss"
    score_name = "miou"
    result_type = AvssResult
    collection = "avss"
    training_score_name = "frame_miou"

    def model_options(self) -> dict[str, Any]:
        return {"classes": len(self.info.classes), "frames": self._frames}

    @property
    def _frames(self) -> int:
        frames: int = self.info.features["sampling"]["frames"]
        return frames

    def targets(self, members: dict[str, bytes], question: int) -> Tensors:  # noqa: ARG002
        """Return the targets, padded to T.

        `labels` `[T, 224, 224]` uint8, `annotated` `[T]` bool: frames with a mask, and `frames` `[T]` bool:
        those of the clip.
        """
        labels = torch.zeros(self._frames, MASK_PIXELS, MASK_PIXELS, dtype=torch.uint8)
        annotated = torch.zeros(self._frames, dtype=torch.bool)
        count = min(len(frame_names(members)), self._frames)
        for number in range(count):
            content = members.get(_MASK_MEMBERS[number])
            if content is not None:
                classes = len(self.info.classes)
                labels[number] = torch.from_numpy(read_class_map(content, _MASK_MEMBERS[number], classes))
                annotated[number] = True
        return {"labels": labels, "annotated": annotated, "frames": torch.arange(self._frames) < count}

    def collate(self, targets: list[Tensors]) -> tuple[Tensors, Tensors]:
        return {}, stack(targets)

    def weights(self, loss: LossConfig) -> dict[str, float]:
        weights = {"class": 1.0} | ({"iou": 1.0} if _with_jaccard(loss) else {})
        return weights | ({"audio_visual": loss.audio_visual} if loss.audio_visual else {})

    def needs_features(self, loss: LossConfig) -> bool:
        return loss.audio_visual > 0

    def counts(self, targets: Tensors, weight: Tensor) -> dict[str, float]:
        frames = float((targets["annotated"] * weight[:, None]).sum())
        return dict.fromkeys(("class", "iou", "audio_visual", "score"), frames)

    def terms(self, outputs: Tensors, targets: Tensors, weight: Tensor, loss: LossConfig) -> Terms:
        """Return the losses over the frames that have a mask.

        The score is the mean IoU over the classes of a frame, which adds up.
        """
        annotated = targets["annotated"]
        logits = outputs["mask_logits"][annotated]
        labels = targets["labels"][annotated].long()
        counted = weight[:, None].expand(annotated.shape)[annotated]
        overlap = frame_miou(logits.detach().argmax(1), labels, logits.shape[1])
        costs = {"class": frame_cross_entropy(logits, labels)}
        if _with_jaccard(loss):
            costs["iou"] = 1 - frame_soft_jaccard(logits, labels)
        if loss.audio_visual:
            costs["audio_visual"] = AVSS_TERM.by_frame(logits, *stage_features(outputs, annotated))
        return Terms(
            losses={name: (cost * counted).sum() for name, cost in costs.items()},
            score=(overlap * counted).sum(),
        )

    def scored(self, outputs: Tensors) -> Tensors:
        """Return `classes` `[B, T, H, W]` uint8, the predicted class of every pixel."""
        logits = outputs["mask_logits"]
        # A clip at a time: the softmax of all of them would take as much memory as the logits.
        return {"classes": torch.stack([predicted_classes(clip).to(torch.uint8) for clip in logits])}

    def meter(self) -> SemanticMeter:
        return SemanticMeter(self.info.classes)

    def clip_score(self, outputs: Tensors, targets: Tensors) -> float:
        """Return the mIoU over the classes of one clip; 0 if nothing in it was counted."""
        meter = self.meter()
        meter.update(outputs, targets)
        scores = meter.result().no_padding
        return 0.0 if scores is None or scores.miou_seen_classes is None else scores.miou_seen_classes

    def baselines(self, shards: Location, split: str) -> dict[str, float]:
        """Return the official mIoU of the background, of the usual class of each pixel, and of one object.

        The object is the most frequent one of the training pixels, and it is everywhere.
        """
        classes = len(self.info.classes)
        totals = np.zeros((classes, MASK_PIXELS * MASK_PIXELS), dtype=np.int64)
        places = np.arange(MASK_PIXELS * MASK_PIXELS)
        for name, content in split_members(shards, "train", _MASK_MEMBERS):
            totals[read_class_map(content, name, classes).ravel(), places] += 1
        usual = totals.argmax(0).reshape(MASK_PIXELS, MASK_PIXELS)
        guesses = {"background everywhere": np.zeros_like(usual), "usual class of each pixel": usual}
        if classes > 1:
            most = 1 + int(totals.sum(1)[1:].argmax())
            guesses["most frequent object everywhere"] = np.full_like(usual, most)
        meters = {name: SemanticMeter(self.info.classes) for name in guesses}
        for name, content in split_members(shards, split, ("json", *_MASK_MEMBERS)):
            if name == "json":
                frames = read_lengths(content, {"frames": self._frames})["frames"]
                for meter in meters.values():
                    meter.add_padding(self._frames - frames)
                continue
            labels = torch.from_numpy(read_class_map(content, name, classes))[None]
            for guess, meter in meters.items():
                meter.add(torch.from_numpy(guesses[guess])[None], labels)
        return {name: meter.score() for name, meter in meters.items()}


class SemanticMeter(Meter):
    """Sums of `SemanticCounts`, over frames with a mask and the frames that pad their clips."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        super().__init__()
        self._names = tuple(classes)
        self.counts = {f"{part}/{name}": np.zeros(len(classes)) for part in _PARTS for name in _SUMS}
        self.counts |= {"frames": np.zeros(()), "padded": np.zeros(())}

    def update(self, outputs: Tensors, targets: Tensors) -> None:
        annotated = targets["annotated"]
        classes = outputs["classes"] if "classes" in outputs else _classes_of(outputs["mask_logits"])
        self.add(classes[annotated], targets["labels"][annotated])
        self.add_padding(int((~targets["frames"]).sum()))

    def add(self, predicted: Tensor, labels: Tensor) -> None:
        """Count real frames: predicted and true classes, integers `[N, H, W]`."""
        counts = SemanticCounts(len(self._names))
        counts.add(predicted, labels, padded_frames=0)
        self._add(counts)
        self.counts["frames"] += len(labels)

    def add_padding(self, frames: int) -> None:
        """Count padded frames, which enter the official scores alone."""
        counts = SemanticCounts(len(self._names))
        counts.official.add_padding(frames)
        self._add(counts)
        self.counts["padded"] += frames

    def _add(self, counts: SemanticCounts) -> None:
        for part in _PARTS:
            for name in _SUMS:
                self.counts[f"{part}/{name}"] += getattr(getattr(counts, part), name)

    def result(self) -> AvssResult:
        official, real = (self._overlap(part) for part in _PARTS)
        frames = int(self.counts["frames"])
        shares = real.by_class()[0]
        seen = real.frame_count > 0
        return AvssResult(
            classes=self._names,
            official=official.scores() if frames else None,
            no_padding=real.scores() if frames else None,
            frames=frames,
            padded_frames=int(self.counts["padded"]),
            iou=tuple(float(value) if known else None for value, known in zip(shares, seen, strict=True)),
            class_frames=tuple(map(int, real.frame_count)),
        )

    def _overlap(self, part: str) -> ClassOverlap:
        overlap = ClassOverlap(len(self._names))
        for name in _SUMS:
            setattr(overlap, name, np.asarray(self.counts[f"{part}/{name}"]))
        return overlap


def _with_jaccard(loss: LossConfig) -> bool:
    return "iou" in loss.semantic.split("+")


def frame_soft_jaccard(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the IoU of the shares of every frame: logits `[N, C, H, W]`, classes int `[N, H, W]` → `[N]`.

    It is the mean over the classes in the labels without the background; 1 in a frame that has no other.
    """
    with torch.autocast(logits.device.type, enabled=False):
        shares = precise(logits).softmax(1)[:, 1:].flatten(2)
    objects = torch.arange(1, logits.shape[1], device=labels.device)
    true = labels.flatten(1)[:, None] == objects[:, None]
    both, size = (shares * true).sum(2), true.sum(2)
    either = shares.sum(2) + size - both
    present = (size > 0).to(shares.dtype)
    overlap = (both + SMOOTHING_PIXELS) / (either + SMOOTHING_PIXELS)
    return 1 - ((1 - overlap) * present).sum(1) / present.sum(1).clamp(min=1)


def _classes_of(logits: Tensor) -> Tensor:
    return predicted_classes(logits.flatten(0, 1)).view(*logits.shape[:2], *logits.shape[3:])


TASK = AvssTask
