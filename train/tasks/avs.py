"""AVS: the pixels that make the sound; soft Jaccard or cross-entropy, mIoU and F-score."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...shards.members import MASK_PIXELS, read_mask
from ..config import LossConfig
from .base import Meter, Task, Tensors, Terms, share, stack

THRESHOLDS = 255
BETA_SQUARED = 0.3
# Soft Jaccard of an empty mask and a nearly empty prediction: one pixel keeps it from 0 / 0.
_SMOOTHING_PIXELS = 1.0


class AvsTask(Task):
    """Which pixels sound."""

    name = "avs"
    score_name = "miou"

    def model_options(self) -> dict[str, Any]:
        return {"frames": self.info.features["sampling"]["frames"]}

    def targets(self, members: dict[str, bytes], question: int) -> Tensors:  # noqa: ARG002  # it has none
        """`masks` `[T, 224, 224]` bool, and `annotated` `[T]` bool: which of them exist."""
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
        """Only the frames that have a mask count."""
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


def soft_jaccard(predicted: Tensor, masks: Tensor) -> Tensor:
    """Intersection over union of shares: `[N, H, W]` in [0, 1] against 0 and 1 → `[N]`."""
    both = (predicted * masks).sum((1, 2))
    either = (predicted + masks).sum((1, 2)) - both
    return (both + _SMOOTHING_PIXELS) / (either + _SMOOTHING_PIXELS)


def frame_iou(predicted: Tensor, masks: Tensor) -> Tensor:
    """IoU of every frame: bool `[N, H, W]`, twice → float64 `[N]`.

    A frame without an object scores the share of empty pixels kept empty, as AVSBench has it.
    """
    both = (predicted & masks).sum((1, 2)).double()
    either = (predicted | masks).sum((1, 2)).double()
    kept_empty = (~predicted).double().mean((1, 2))
    return torch.where(masks.flatten(1).any(1), both / either.clamp(min=1), kept_empty)


def f_by_threshold(predicted: Tensor, masks: Tensor) -> Tensor:
    """The F-score (β² = 0.3) of every frame at 255 thresholds from 0 to 1: `[N, H, W]` → float64 `[N, 255]`.

    A pixel counts as predicted from its threshold on. Where nothing is right, F is 0.
    """
    thresholds = torch.linspace(0, 1 - 1e-10, THRESHOLDS)
    passed = torch.bucketize(predicted.flatten(1), thresholds, right=True)
    true = masks.flatten(1)
    scores = []
    for frame, mask in zip(passed, true, strict=True):
        # How many pixels pass exactly k thresholds, summed from above: how many pass threshold i.
        chosen = torch.bincount(frame, minlength=THRESHOLDS + 1).flip(0).cumsum(0).flip(0)[1:].double()
        right = torch.bincount(frame[mask], minlength=THRESHOLDS + 1).flip(0).cumsum(0).flip(0)[1:].double()
        precision, recall = right / chosen.clamp(min=1), right / mask.sum().clamp(min=1)
        total = (BETA_SQUARED * precision + recall).clamp(min=torch.finfo(torch.float64).tiny)
        scores.append((1 + BETA_SQUARED) * precision * recall / total)
    return torch.stack(scores) if scores else torch.zeros(0, THRESHOLDS, dtype=torch.float64)


class MaskMeter(Meter):
    """mIoU at 0.5 over all annotated frames, and the F-score over those that show an object.

    The F-score is AVSBench's: the maximum over the thresholds of the F averaged over the frames.
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
        """Counts frames: shares in [0, 1], the decision at 0.5, and the truth, each `[N, H, W]`."""
        if shares.shape != masks.shape:
            raise ValueError(f"predicted masks are {tuple(shares.shape)}, the true ones {tuple(masks.shape)}")
        shows = masks.flatten(1).any(1)
        self.counts["iou"] += frame_iou(predicted, masks).sum().item()
        self.counts["frames"] += len(masks)
        self.counts["f"] += f_by_threshold(shares[shows], masks[shows]).sum(0).numpy()
        self.counts["frames_with_object"] += int(shows.sum())

    def score(self) -> float:
        found = share(float(self.counts["iou"]), float(self.counts["frames"]))
        return float("nan") if found is None else found

    def summary(self) -> dict[str, Any]:
        shown = float(self.counts["frames_with_object"])
        return {
            "miou": self.score(),
            "f_score": share(self.counts["f"].max(), shown),
            "threshold": float(self.counts["f"].argmax() / (THRESHOLDS - 1)) if shown else None,
            "frames": int(self.counts["frames"]),
            "frames_without_object": int(self.counts["frames"] - shown),
        }
