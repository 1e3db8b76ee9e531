"""AVSS: the class of every pixel that makes a sound. Losses: cross-entropy, soft Jaccard. Scores: mIoU, F.

A clip has as many frames as its members, up to those of the data set. The frames that pad it in a batch count
in no loss. In scores they count only where the name says so: the official scores include them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...errors import InputError
from ...shards.members import MASK_PIXELS, frame_names, read_class_map, read_lengths
from ...shards.storage import Location
from ..metrics.audio_visual_term import AVSS_TERM
from ..metrics.cross_entropy import frame_cross_entropy, precise
from ..metrics.semantic import (
    ClassOverlap,
    SemanticCounts,
    frame_miou,
    predicted_classes,
)
from ..sections import DataConfig, LossConfig
from .avs import SMOOTHING_PIXELS, frames_at, stage_features, with_rows
from .avss_result import AvssResult
from .base import Task, Terms, stack
from .members import split_members
from .meter import Meter, Tensors

_MASK_MEMBERS = tuple(f"mask_{number:02d}.png" for number in range(32))
_SUMS = ("iou_sum", "f_sum", "frame_count", "intersection", "union")
_PARTS = ("official", "no_padding")


class AvssTask(Task):
    """The class of every pixel that makes a sound, in each frame; class 0 is the background."""

    name = "avss"
    score_name = "miou"
    result_type = AvssResult
    collection = "avss"
    # Masks would not follow the frames, and clips have two lengths.
    augmentations = frozenset()
    training_score_name = "frame_miou"

    @classmethod
    def check_settings(cls, data: DataConfig, loss: LossConfig) -> None:
        """Raise InputError for settings that the task cannot be trained with."""
        super().check_settings(data, loss)
        if loss.audio_visual and loss.audio_visual_term != "kl":
            raise InputError(f"loss.audio_visual_term is {loss.audio_visual_term}, avss has kl alone")

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
        return {}, with_rows(stack(targets))

    def weights(self, loss: LossConfig) -> dict[str, float]:
        weights = {"class": 1.0} | {name: _FURTHER_TERMS[name].weight for name in _further_terms(loss)}
        return weights | ({"audio_visual": loss.audio_visual} if loss.audio_visual else {})

    def needs_features(self, loss: LossConfig) -> bool:
        return loss.audio_visual > 0

    def counts(self, targets: Tensors, weight: Tensor) -> dict[str, float]:
        frames = float((targets["annotated"] * weight[:, None]).sum())
        return dict.fromkeys(("class", *_FURTHER_TERMS, "audio_visual", "score"), frames)

    def terms(self, outputs: Tensors, targets: Tensors, weight: Tensor, loss: LossConfig) -> Terms:
        """Return the losses over the frames that have a mask.

        The score is the mean IoU over the classes of a frame, which adds up.
        """
        rows = targets["rows"]
        logits = frames_at(outputs["mask_logits"], rows)
        labels = frames_at(targets["labels"], rows).long()
        counted = frames_at(weight[:, None].expand(targets["annotated"].shape), rows)
        overlap = frame_miou(logits.detach().argmax(1), labels, logits.shape[1])
        costs = {"class": frame_cross_entropy(logits, labels)}
        for name in _further_terms(loss):
            costs[name] = _FURTHER_TERMS[name].by_frame(logits, labels)
        if loss.audio_visual:
            costs["audio_visual"] = AVSS_TERM.by_frame(logits, *stage_features(outputs, rows))
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


def _further_terms(loss: LossConfig) -> list[str]:
    """Return the terms besides cross-entropy of `loss.semantic`, such as `ce+iou`."""
    return loss.semantic.split("+")[1:]


def frame_soft_jaccard(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the IoU of the shares of every frame: logits `[N, C, H, W]`, classes int `[N, H, W]` → `[N]`.

    Intersection and union are summed over all pixels and all classes but the background: an object that is
    not in the labels, or has another class there, adds to the union only.
    """
    with torch.autocast(logits.device.type, enabled=False):
        shares = precise(logits).softmax(1)
    is_object = labels > 0
    true = shares.gather(1, labels[:, None])[:, 0] * is_object
    both, size = true.flatten(1).sum(1), is_object.flatten(1).sum(1)
    either = (1 - shares[:, 0]).flatten(1).sum(1) + size - both
    return (both + SMOOTHING_PIXELS) / (either + SMOOTHING_PIXELS)


def frame_object_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of objects by frame: logits `[N, C, H, W]`, classes int `[N, H, W]` → `[N]`.

    It is that of the classes but the background, and the mean over the pixels of objects; 0 where there are
    none. It does not depend on how much of the frame is background.
    """
    is_object = labels > 0
    with torch.autocast(logits.device.type, enabled=False):
        pixels = functional.cross_entropy(
            precise(logits)[:, 1:], torch.where(is_object, labels - 1, -100), reduction="none"
        )
    return pixels.flatten(1).sum(1) / is_object.flatten(1).sum(1).clamp(min=1)


class _Term(NamedTuple):
    """A term of the loss, from logits and labels to the loss of every frame, and its weight."""

    by_frame: Callable[[Tensor, Tensor], Tensor]
    weight: float


def _iou_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return 1 - frame_soft_jaccard(logits, labels)


# Terms of `loss.semantic` that may follow the cross-entropy.
_FURTHER_TERMS = {"iou": _Term(_iou_loss, 1.0), "objects": _Term(frame_object_cross_entropy, 0.25)}


def _classes_of(logits: Tensor) -> Tensor:
    return predicted_classes(logits.flatten(0, 1)).view(*logits.shape[:2], *logits.shape[3:])


TASK = AvssTask
