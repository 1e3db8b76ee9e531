"""AVS: the pixels that make the sound. Losses: soft Jaccard, cross-entropy. Scores: mIoU and F-score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...shards.members import MASK_PIXELS, read_mask
from ...shards.storage import Location
from ..fields import field
from ..metrics.binary_masks import THRESHOLDS, f_by_threshold, frame_iou
from ..sections import LossConfig
from .base import Task, Terms, stack
from .members import split_members
from .meter import Meter, ScoreRow, TaskResult, Tensors, share

# Soft Jaccard of an empty mask and a nearly empty prediction: one pixel keeps it from 0 / 0.
_SMOOTHING_PIXELS = 1.0
# Training masks among which the baseline's threshold is chosen; all would take gigabytes.
_MASKS_FOR_THRESHOLD = 500
_MASK_MEMBERS = tuple(f"mask_{number:02d}.png" for number in range(32))


@dataclass(frozen=True)
class AvsResult(TaskResult):
    """mIoU over all annotated frames, F-score over those that show an object.

    Attributes:
        threshold: at which the F-score is reached.
    """

    miou: float | None
    f_score: float | None
    threshold: float | None
    frames: int
    frames_without_object: int

    @property
    def score(self) -> float:
        return float("nan") if self.miou is None else self.miou

    def metrics(self) -> dict[str, float | None]:
        return {"miou": self.miou, "f_score": self.f_score}

    def rows(self) -> list[ScoreRow]:
        with_object = self.frames - self.frames_without_object
        return [
            ScoreRow("mIoU at 0.5", self.miou, self.frames, kind="score"),
            ScoreRow("F-score", self.f_score, with_object),
        ]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        shares = [field(content, name, float | None) for name in ("miou", "f_score", "threshold")]
        frames = [field(content, name, int) for name in ("frames", "frames_without_object")]
        return cls(*shares, *frames)


class AvsTask(Task):
    """Masks of the pixels that make the sound, one a frame."""

    name = "avs"
    score_name = "miou"
    result_type = AvsResult
    collection = "avs-s4"

    def model_options(self) -> dict[str, Any]:
        return {"frames": self.info.features["sampling"]["frames"]}

    def targets(self, members: dict[str, bytes], question: int) -> Tensors:  # noqa: ARG002
        """Return `masks` `[T, 224, 224]` bool, and `annotated` `[T]` bool: which frames have a mask."""
        frames = self.info.features["sampling"]["frames"]
        masks: list[Tensor | None] = []
        for number in range(frames):
            name = f"mask_{number:02d}.png"
            content = members.get(name)
            masks.append(None if content is None else torch.from_numpy(read_mask(content, name)))
        empty = torch.zeros(MASK_PIXELS, MASK_PIXELS, dtype=torch.bool)
        return {
            "masks": torch.stack([empty if mask is None else mask for mask in masks]),
            "annotated": torch.tensor([mask is not None for mask in masks]),
        }

    def collate(self, targets: list[Tensors]) -> tuple[Tensors, Tensors]:
        return {}, stack(targets)

    def weights(self, loss: LossConfig) -> dict[str, float]:
        return dict.fromkeys(loss.mask.split("+"), 1.0)

    def counts(self, targets: Tensors, weight: Tensor) -> dict[str, float]:
        frames = float((targets["annotated"] * weight[:, None]).sum())
        return {"iou": frames, "bce": frames, "score": frames}

    def terms(self, outputs: Tensors, targets: Tensors, weight: Tensor, loss: LossConfig) -> Terms:
        """Return the losses over the frames that have a mask."""
        annotated = targets["annotated"]
        logits = outputs["mask_logits"].squeeze(2)[annotated].float()
        masks = targets["masks"][annotated].float()
        counted = weight[:, None].expand(annotated.shape)[annotated]
        costs: Tensors = {}
        wanted = self.weights(loss)
        if "iou" in wanted:
            costs["iou"] = 1 - soft_jaccard(logits.sigmoid(), masks)
        if "bce" in wanted:
            pixels = functional.binary_cross_entropy_with_logits(logits, masks, reduction="none")
            costs["bce"] = pixels.mean((1, 2))
        overlap = frame_iou(logits.detach() > 0, masks.bool())
        return Terms(
            losses={name: (cost * counted).sum() for name, cost in costs.items()},
            score=(overlap * counted).sum(),
        )

    def meter(self) -> MaskMeter:
        return MaskMeter()

    def baselines(self, shards: Location, split: str) -> dict[str, float]:
        """Return the mIoU of all pixels, of none, and of the mean training mask at its best threshold."""
        first_masks: list[Tensor] = []
        count = 0
        total = torch.zeros(MASK_PIXELS, MASK_PIXELS, dtype=torch.int64)
        for mask in _masks(shards, "train"):
            first_masks += [mask] if count < _MASKS_FOR_THRESHOLD else []
            total += mask
            count += 1
        mean = (total.double() / max(count, 1)).float()
        guesses = {
            "everything": torch.ones_like(mean),
            "nothing": torch.zeros_like(mean),
            "mean training mask": _best_threshold(mean, first_masks),
        }
        meters = {name: MaskMeter() for name in guesses}
        for mask in _masks(shards, split):
            for name, guess in guesses.items():
                meters[name].add(guess[None], guess[None] > 0.5, mask[None])
        return {name: meter.score() for name, meter in meters.items()}


def _masks(shards: Location, split: str) -> Iterator[Tensor]:
    for name, content in split_members(shards, split, _MASK_MEMBERS):
        yield torch.from_numpy(read_mask(content, name))


def _best_threshold(mean: Tensor, masks: list[Tensor]) -> Tensor:
    """Return the mean mask `[H, W]`, 0 or 1, at the threshold with the highest mIoU over `masks`."""
    if not masks:
        return torch.zeros_like(mean)
    true = torch.stack(masks)
    guesses = [mean >= threshold for threshold in torch.linspace(0.05, 0.95, 19)]
    best: Tensor = max(guesses, key=lambda guess: float(frame_iou(guess.expand_as(true), true).mean()))
    return best.float()


def soft_jaccard(predicted: Tensor, masks: Tensor) -> Tensor:
    """Return the IoU of shares: `[N, H, W]` in [0, 1] against 0 and 1 → `[N]`."""
    both = (predicted * masks).sum((1, 2))
    either = (predicted + masks).sum((1, 2)) - both
    return (both + _SMOOTHING_PIXELS) / (either + _SMOOTHING_PIXELS)


class MaskMeter(Meter):
    """Sums IoU at 0.5 over all annotated frames, and F over those that show an object.

    The F-score is the maximum over the thresholds of F averaged over the frames of the whole split.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts = {
            "iou": np.zeros(()),
            "frames": np.zeros(()),
            "f": np.zeros(THRESHOLDS),
            "frames_with_object": np.zeros(()),
        }

    def update(self, outputs: Tensors, targets: Tensors) -> None:
        annotated = targets["annotated"]
        logits = outputs["mask_logits"].squeeze(2)[annotated].float()
        masks = targets["masks"][annotated]
        self.add(logits.sigmoid(), logits > 0, masks)

    def add(self, shares: Tensor, predicted: Tensor, masks: Tensor) -> None:
        """Count frames: shares in [0, 1], the decision at 0.5, and the true masks, each `[N, H, W]`."""
        if shares.shape != masks.shape:
            raise ValueError(f"predicted masks are {tuple(shares.shape)}, the true ones {tuple(masks.shape)}")
        shows = masks.flatten(1).any(1)
        self.counts["iou"] += frame_iou(predicted, masks).sum().item()
        self.counts["frames"] += len(masks)
        self.counts["f"] += f_by_threshold(shares[shows], masks[shows]).sum(0).numpy()
        self.counts["frames_with_object"] += int(shows.sum())

    def result(self) -> AvsResult:
        with_object = float(self.counts["frames_with_object"])
        return AvsResult(
            miou=share(float(self.counts["iou"]), float(self.counts["frames"])),
            f_score=share(self.counts["f"].max(), with_object),
            threshold=float(self.counts["f"].argmax() / (THRESHOLDS - 1)) if with_object else None,
            frames=int(self.counts["frames"]),
            frames_without_object=int(self.counts["frames"] - with_object),
        )


TASK = AvsTask
