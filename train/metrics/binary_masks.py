"""mIoU and F-score of binary masks: by test batch as AVSBench computes them, and over the whole split.

AVSBench (OpenNLPLab/AVSBench, `utils/utility.py` and the loops in `test.py` of S4 and MS3) scores all frames
of a test batch in one call and averages the calls with equal weights. The F-score of a call is the maximum,
over 255 thresholds, of the F averaged over its frames, so the result depends on the batch size: 1 by default
in test.py, 4 in test.sh. Both kinds of score follow from one row of sums per clip.

`frame_iou` and `f_by_threshold` have the released formulas up to rounding: the release computes in float32
and adds 1e-7 to the union, which lowers the IoU of a frame by at most 1.2e-7. The decision is as released,
sigmoid in float32 above 0.5, so that a logit below about 6e-8 is background.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

THRESHOLDS = 255
BETA_SQUARED = 0.3

Array = npt.NDArray[np.float64]

# The attributes of `MaskCounts`, in the order of its rows.
_COUNTS = ("frames", "frames_with_object", "iou", "iou_with_object", "f")


def frame_iou(predicted: Tensor, masks: Tensor) -> Tensor:
    """Return the IoU of every frame: bool `[N, H, W]`, twice → float64 `[N]`.

    A frame without an object scores the share of its pixels that are predicted empty, as in AVSBench.
    """
    both = (predicted & masks).sum((1, 2)).double()
    either = (predicted | masks).sum((1, 2)).double()
    kept_empty = (~predicted).double().mean((1, 2))
    return torch.where(masks.flatten(1).any(1), both / either.clamp(min=1), kept_empty)


def f_by_threshold(predicted: Tensor, masks: Tensor) -> Tensor:
    """Return F (β² = 0.3) of every frame at 255 thresholds from 0 to 1: `[N, H, W]` → float64 `[N, 255]`.

    A pixel is predicted when its value is at least the threshold. Where no pixel is right, F is 0.
    """
    thresholds = torch.linspace(0, 1 - 1e-10, THRESHOLDS)
    passed = torch.bucketize(predicted.flatten(1), thresholds, right=True)
    true = masks.flatten(1)
    scores = []
    for frame, mask in zip(passed, true, strict=True):
        # Pixels that pass exactly k thresholds; their sums from above are the pixels that pass threshold i.
        chosen = torch.bincount(frame, minlength=THRESHOLDS + 1).flip(0).cumsum(0).flip(0)[1:].double()
        right = torch.bincount(frame[mask], minlength=THRESHOLDS + 1).flip(0).cumsum(0).flip(0)[1:].double()
        precision, recall = right / chosen.clamp(min=1), right / mask.sum().clamp(min=1)
        total = (BETA_SQUARED * precision + recall).clamp(min=torch.finfo(torch.float64).tiny)
        scores.append((1 + BETA_SQUARED) * precision * recall / total)
    return torch.stack(scores) if scores else torch.zeros(0, THRESHOLDS, dtype=torch.float64)


@dataclass(frozen=True)
class CallScores:
    """The scores of one call of the released functions.

    Attributes:
        miou: mean over the frames of the call, in [0, 1].
        f: F-score in [0, 1]; 0 where no frame shows an object.
        clips: number of clips in the call.
        empty: all masks of the call are empty.
    """

    miou: float
    f: float
    clips: int
    empty: bool


@dataclass(frozen=True)
class BatchwiseScores:
    """The scores as AVSBench reports them: means over the calls, whatever their sizes.

    Attributes:
        clips_per_call: the batch size of the test.
        miou: mean over the calls.
        f: mean over the calls; calls with only empty masks add 0.
        calls: the calls in the order of the clips. The last one may have fewer clips.
    """

    clips_per_call: int
    miou: float
    f: float
    calls: tuple[CallScores, ...]

    @property
    def empty_calls(self) -> int:
        """Number of calls with only empty masks."""
        return sum(call.empty for call in self.calls)


@dataclass(frozen=True)
class SplitScores:
    """Scores that do not depend on the batch size.

    Attributes:
        frame_mean_iou: mean over all frames; a frame without an object scores its share of background pixels.
        miou_non_empty: mean over the frames that show an object; None without such frames.
        split_level_f: F averaged over the frames that show an object, at its best threshold; None without.
        threshold: the best threshold, in [0, 1]; None without such frames.
        empty_share: share of the frames that show no object.
        frames: number of frames.
    """

    frame_mean_iou: float
    miou_non_empty: float | None
    split_level_f: float | None
    threshold: float | None
    empty_share: float
    frames: int


class MaskCounts:
    """Sums by clip, from which the scores follow for every batch size.

    Attributes:
        frames: `[clips]`, annotated frames of each clip; 0 for a clip that was not scored.
        frames_with_object: `[clips]`, those whose mask is not empty.
        iou: `[clips]`, sum over `frames`.
        iou_with_object: `[clips]`, sum over `frames_with_object`.
        f: `[clips, 255]`, sum over `frames_with_object` of F at every threshold.
    """

    def __init__(self, clips: int) -> None:
        self.frames: Array = np.zeros(clips)
        self.frames_with_object: Array = np.zeros(clips)
        self.iou: Array = np.zeros(clips)
        self.iou_with_object: Array = np.zeros(clips)
        self.f: Array = np.zeros((clips, THRESHOLDS))

    def add(self, clip: int, logits: Tensor, masks: Tensor) -> None:
        """Add the annotated frames of a clip: logits `[N, H, W]` and masks bool `[N, H, W]`.

        Args:
            clip: index of the clip in its split, from 0. The order decides which clips share a call.
            logits: mask logits, on the CPU.
            masks: the ground truth.

        Raises ValueError for different shapes, or a clip that was added before.
        """
        if logits.shape != masks.shape or logits.ndim != 3:
            raise ValueError(f"logits {tuple(logits.shape)}, masks {tuple(masks.shape)}; expected [N, H, W]")
        if self.frames[clip]:
            raise ValueError(f"clip {clip} was added before")
        masks = masks.bool()
        shares = logits.float().sigmoid()
        shown = masks.flatten(1).any(1)
        iou = frame_iou(shares > 0.5, masks)
        self.frames[clip] = len(masks)
        self.frames_with_object[clip] = int(shown.sum())
        self.iou[clip] = iou.sum().item()
        self.iou_with_object[clip] = iou[shown].sum().item()
        self.f[clip] = f_by_threshold(shares[shown], masks[shown]).sum(0).numpy()

    def rows(self) -> Array:
        """Return the counts as one row per clip, `[clips, 4 + 255]`."""
        return np.column_stack([getattr(self, name) for name in _COUNTS])

    @classmethod
    def from_rows(cls, rows: Array) -> Self:
        """Return the counts of `rows`, one of each clip in the order of the split."""
        counts = cls(len(rows))
        for name, column in zip(_COUNTS[:-1], rows.T, strict=False):
            getattr(counts, name)[:] = column
        counts.f[:] = rows[:, len(_COUNTS) - 1 :]
        return counts

    def merge(self, other: MaskCounts) -> None:
        """Add the counts of other clips of the same split."""
        if len(self.frames) != len(other.frames):
            raise ValueError(f"counts of {len(self.frames)} and of {len(other.frames)} clips do not merge")
        if (twice := np.flatnonzero((self.frames > 0) & (other.frames > 0))).size:
            raise ValueError(f"clip {twice[0]} was added before")
        for name in _COUNTS:
            getattr(self, name)[:] += getattr(other, name)

    def batchwise(self, clips_per_call: int) -> BatchwiseScores:
        """The official scores with a test batch of `clips_per_call` clips.

        Clips that were not scored are left out before the others are divided into calls. Raises ValueError
        when there are no scored clips, or for a batch below 1.
        """
        if clips_per_call < 1:
            raise ValueError(f"clips_per_call is {clips_per_call}, must be at least 1")
        calls = tuple(self._calls(clips_per_call))
        miou, f = (float(np.mean([getattr(call, name) for call in calls])) for name in ("miou", "f"))
        return BatchwiseScores(clips_per_call, miou, f, calls)

    def split(self) -> SplitScores:
        """The scores over all frames of the split. Raises ValueError when there are none."""
        self._scored()
        frames, shown = float(self.frames.sum()), float(self.frames_with_object.sum())
        f = self.f.sum(0)
        return SplitScores(
            frame_mean_iou=float(self.iou.sum() / frames),
            miou_non_empty=float(self.iou_with_object.sum() / shown) if shown else None,
            split_level_f=float(f.max() / shown) if shown else None,
            threshold=float(f.argmax() / (THRESHOLDS - 1)) if shown else None,
            empty_share=1 - shown / frames,
            frames=int(frames),
        )

    def _scored(self) -> npt.NDArray[np.intp]:
        scored = np.flatnonzero(self.frames)
        if not scored.size:
            raise ValueError("no frames to score")
        return scored

    def _calls(self, clips_per_call: int) -> Iterator[CallScores]:
        scored = self._scored()
        for start in range(0, len(scored), clips_per_call):
            clips = scored[start : start + clips_per_call]
            shown = self.frames_with_object[clips].sum()
            yield CallScores(
                miou=float(self.iou[clips].sum() / self.frames[clips].sum()),
                f=float(self.f[clips].sum(0).max() / shown) if shown else 0.0,
                clips=len(clips),
                empty=not shown,
            )
