"""AVS: the pixels that make the sound. Losses: soft Jaccard, cross-entropy. Scores: mIoU and F-score."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...shards.members import MASK_PIXELS, read_mask
from ...shards.storage import Location
from ..metrics.audio_visual_term import MS3_TERM, S4_COSINE_TERM
from ..metrics.binary_masks import MaskCounts, frame_iou
from ..metrics.cross_entropy import frame_bce
from ..metrics.largest_object import largest_object
from ..sections import LossConfig
from .avs_result import BATCH_SIZES, AvsResult, BatchwiseResult
from .base import Task, Terms, stack
from .members import split_members
from .meter import Meter, Tensors

# By `loss.audio_visual_term`.
AUDIO_VISUAL_TERMS = {"kl": MS3_TERM, "cosine": S4_COSINE_TERM}
# Soft Jaccard of an empty mask and a nearly empty prediction: one pixel keeps it from 0 / 0.
SMOOTHING_PIXELS = 1.0
# Training masks among which the baseline's threshold is chosen; all would take gigabytes.
_MASKS_FOR_THRESHOLD = 500
_MASK_MEMBERS = tuple(f"mask_{number:02d}.png" for number in range(32))


class AvsTask(Task):
    """Masks of the pixels that make the sound, one a frame."""

    name = "avs"
    score_name = "miou"
    result_type = AvsResult
    collection = "avs-s4"
    augmentations = frozenset({"mixup"})  # masks would not follow the frames

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
        return {}, with_rows(stack(targets))

    def weights(self, loss: LossConfig) -> dict[str, float]:
        weights = dict.fromkeys(loss.mask.split("+"), 1.0)
        return weights | ({"audio_visual": loss.audio_visual} if loss.audio_visual else {})

    def needs_features(self, loss: LossConfig) -> bool:
        return loss.audio_visual > 0

    def summed_losses(self, loss: LossConfig) -> frozenset[str]:
        summed = loss.audio_visual > 0 and AUDIO_VISUAL_TERMS[loss.audio_visual_term].reduction == "sum"
        return frozenset({"audio_visual"} if summed else ())

    def counts(self, targets: Tensors, weight: Tensor) -> dict[str, float]:
        frames = float((targets["annotated"] * weight[:, None]).sum())
        return dict.fromkeys(("iou", "bce", "bounded-bce", "audio_visual", "score"), frames)

    def terms(self, outputs: Tensors, targets: Tensors, weight: Tensor, loss: LossConfig) -> Terms:
        """Return the losses over the frames that have a mask."""
        rows = targets["rows"]
        logits = frames_at(outputs["mask_logits"].squeeze(2), rows).float()
        masks = frames_at(targets["masks"], rows).float()
        counted = frames_at(weight[:, None].expand(targets["annotated"].shape), rows)
        costs: Tensors = {}
        wanted = self.weights(loss)
        if "iou" in wanted:
            costs["iou"] = 1 - soft_jaccard(logits.sigmoid(), masks)
        if "bce" in wanted:
            pixels = functional.binary_cross_entropy_with_logits(logits, masks, reduction="none")
            costs["bce"] = pixels.mean((1, 2))
        if "bounded-bce" in wanted:
            costs["bounded-bce"] = frame_bce(logits, masks)
        if "audio_visual" in wanted:
            costs["audio_visual"] = _audio_visual(outputs, rows, loss)
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
        overlap = dict.fromkeys(guesses, 0.0)
        frames = 0
        for mask in _masks(shards, split):
            frames += 1
            for name, guess in guesses.items():
                overlap[name] += float(frame_iou(guess[None] > 0.5, mask[None]))
        return {name: total / frames if frames else math.nan for name, total in overlap.items()}

    def bounds(self, shards: Location, split: str) -> dict[str, float]:
        """Return the mIoU of marking the largest object of every frame exactly, and no other one.

        No answer that marks one true object of every frame exactly scores more. Objects that touch count as
        one.
        """
        scores = [
            float(frame_iou(torch.from_numpy(largest_object(mask.numpy()))[None], mask[None]))
            for mask in _masks(shards, split)
        ]
        return {"one object a frame": sum(scores) / len(scores)} if scores else {}


def with_rows(targets: Tensors) -> Tensors:
    """Return `targets` with `rows`, int64 `[N]`: the places of the annotated frames among all `[B·T]`.

    They are found on the CPU: an index of a size that depends on values would make a GPU wait.
    """
    return targets | {"rows": targets["annotated"].flatten().nonzero()[:, 0]}


def frames_at(x: Tensor, rows: Tensor) -> Tensor:
    """Return the frames at `rows` `[N]` of `x`: `[B, T, …]` → `[N, …]`."""
    return x.flatten(0, 1).index_select(0, rows)


def _audio_visual(outputs: Tensors, rows: Tensor, loss: LossConfig) -> Tensor:
    """Return the audio-visual term of the frames at `rows`, `[N]`."""
    logits = frames_at(outputs["mask_logits"], rows)
    return AUDIO_VISUAL_TERMS[loss.audio_visual_term].by_frame(logits, *stage_features(outputs, rows))


def stage_features(outputs: Tensors, rows: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return the features of sound and of vision, by stage, of the frames at `rows` among all `[B·T]`."""
    stages = sum(name.startswith("audio_") for name in outputs)
    audio, visual = (
        [outputs[f"{kind}_{stage}"].index_select(0, rows) for stage in range(stages)]
        for kind in ("audio", "visual")
    )
    return audio, visual


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
    return (both + SMOOTHING_PIXELS) / (either + SMOOTHING_PIXELS)


class MaskMeter(Meter):
    """Counts IoU at 0.5 over all annotated frames, and F over those that show an object, by clip.

    The scores of test batches of consecutive clips follow from the rows of all clips in the order of the
    split, whatever the batches and the processes that scored them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows["clips"] = [MaskCounts(0).rows()]

    def update(self, outputs: Tensors, targets: Tensors) -> None:
        logits, masks, annotated = outputs["mask_logits"].squeeze(2), targets["masks"], targets["annotated"]
        if logits.shape != masks.shape:
            raise ValueError(f"predicted masks are {tuple(logits.shape)}, the true ones {tuple(masks.shape)}")
        counts = MaskCounts(len(masks))
        for clip, frames in enumerate(annotated):
            counts.add(clip, logits[clip, frames], masks[clip, frames])
        self.rows["clips"].append(counts.rows())

    def result(self) -> AvsResult:
        counts = MaskCounts.from_rows(np.concatenate(self.rows["clips"]))
        if not counts.frames.any():
            return AvsResult(None, None, None, 0, 0)
        split = counts.split()
        return AvsResult(
            miou=split.frame_mean_iou,
            f_score=split.split_level_f,
            threshold=split.threshold,
            frames=split.frames,
            frames_without_object=int(counts.frames.sum() - counts.frames_with_object.sum()),
            miou_with_object=split.miou_non_empty,
            batchwise=tuple(BatchwiseResult.of(counts.batchwise(clips)) for clips in BATCH_SIZES),
        )


TASK = AvsTask
