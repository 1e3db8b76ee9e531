"""mIoU and F-score of semantic masks (AVSS, 71 classes): as released, and corrected.

The release (OpenNLPLab/AVSBench, `avs_scripts/avss`: `compute_color_metrics.py`, `test.py`) sums the IoU and
the F (β² = 0.3) of every class over the frames, divides by the number of frames in which the class occurs in
the prediction or in the truth, and averages over all classes; a class that never occurs counts as 0. It also
scores the frames that pad 5-second clips to 10 frames: there prediction and label are class 0, IoU and F 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

CLASSES = 71
BETA_SQUARED = 0.3

Array = npt.NDArray[np.float64]


def predicted_classes(logits: Tensor) -> Tensor:
    """Return the predicted class of every pixel: logits `[N, C, H, W]` → int64 `[N, H, W]`.

    As released, the argmax is taken after a softmax in float32: logits closer than about 1e-7 tie, and the
    lower class is chosen.
    """
    return logits.float().softmax(1).argmax(1)


def frame_miou(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the mean IoU of every frame over the classes in it: integers `[N, H, W]` twice → float64 `[N]`.

    A number of one frame, which no score of a split follows from; it is shown while training.
    """
    chosen, true = predicted.flatten(1), labels.flatten(1)
    both = _counts(torch.where(chosen == true, chosen, classes), classes + 1)[:, :classes]
    either = _counts(chosen, classes) + _counts(true, classes) - both
    return (both / either.clamp(min=1)).sum(1) / (either > 0).sum(1).clamp(min=1)


@dataclass(frozen=True)
class SemanticScores:
    """The scores of a split; shares in [0, 1]. None where no class is left to average.

    Attributes:
        miou, f: official: mean over all classes, those that never occur as 0.
        miou_no_bg, f_no_bg: the released "noBg", which leaves out the last class (70, woman) and keeps the
            background.
        miou_without_class_0, f_without_class_0: "noBg" corrected: mean over the classes from 1.
        miou_seen_classes, f_seen_classes: mean over the classes that occur in prediction or truth.
        classes_seen: number of these classes.
        miou_seen_foreground, f_seen_foreground: the same without class 0.
        iou_background: IoU of class 0.
        dataset_level_miou_seen_classes: intersections and unions summed over all pixels of the split, then
            the mean over the classes with a union (CAVP's measure; higher, not comparable with the others).
    """

    miou: float
    f: float
    miou_no_bg: float
    f_no_bg: float
    miou_without_class_0: float
    f_without_class_0: float
    miou_seen_classes: float | None
    f_seen_classes: float | None
    classes_seen: int
    miou_seen_foreground: float | None
    f_seen_foreground: float | None
    iou_background: float
    dataset_level_miou_seen_classes: float | None


class ClassOverlap:
    """Sums over frames by class.

    Attributes:
        iou_sum, f_sum: `[C]`, sums over the frames in which the class occurs in prediction or truth.
        frame_count: `[C]`, number of these frames.
        intersection, union: `[C]`, pixels summed over all frames.
    """

    def __init__(self, classes: int = CLASSES) -> None:
        self.iou_sum: Array = np.zeros(classes)
        self.f_sum: Array = np.zeros(classes)
        self.frame_count: Array = np.zeros(classes)
        self.intersection: Array = np.zeros(classes)
        self.union: Array = np.zeros(classes)

    def add(self, predicted: Tensor, labels: Tensor) -> None:
        """Add frames: predicted and true classes, integers `[N, H, W]`.

        Raises ValueError for different shapes, or a class outside the range.
        """
        classes = len(self.frame_count)
        if predicted.shape != labels.shape or labels.ndim != 3:
            raise ValueError(
                f"predicted {tuple(predicted.shape)}, labels {tuple(labels.shape)}; expected [N, H, W]"
            )
        for name, values in (("predicted", predicted), ("label", labels)):
            if values.numel() and not 0 <= int(values.min()) <= int(values.max()) < classes:
                found = f"{int(values.min())} to {int(values.max())}"
                raise ValueError(f"{name} classes are {found}, must be 0 to {classes - 1}")
        chosen, true = predicted.flatten(1).long(), labels.flatten(1).long()
        both = _histogram(torch.where(chosen == true, chosen, classes), classes + 1)[:, :classes]
        in_prediction, in_truth = _histogram(chosen, classes), _histogram(true, classes)
        either = in_prediction + in_truth - both
        # 1.3·P·R / (0.3·P + R) with precision both / in_prediction and recall both / in_truth.
        weighted = BETA_SQUARED * in_truth + in_prediction
        self.iou_sum += (both / np.maximum(either, 1)).sum(0)
        self.f_sum += ((1 + BETA_SQUARED) * both / np.where(weighted > 0, weighted, 1)).sum(0)
        self.frame_count += (either > 0).sum(0)
        self.intersection += both.sum(0)
        self.union += either.sum(0)

    def add_padding(self, frames: int) -> None:
        """Add `frames` padded frames as the release scores them: IoU and F 1 for class 0.

        Their pixels are not added to `intersection` and `union`.
        """
        for sums in (self.iou_sum, self.f_sum, self.frame_count):
            sums[0] += frames

    def merge(self, other: ClassOverlap) -> None:
        """Add the sums of other frames."""
        for name in ("iou_sum", "f_sum", "frame_count", "intersection", "union"):
            getattr(self, name)[:] += getattr(other, name)

    def by_class(self) -> tuple[Array, Array]:
        """Return IoU and F of every class, `[C]` each; 0 for a class that never occurs."""
        frames = np.maximum(self.frame_count, 1)
        return self.iou_sum / frames, self.f_sum / frames

    def scores(self) -> SemanticScores:
        """Return all scores. Raises ValueError when no frame was added."""
        if not self.frame_count.any():
            raise ValueError("no frames to score")
        iou, f = self.by_class()
        seen = self.frame_count > 0
        foreground = seen & (np.arange(len(seen)) > 0)
        pooled = self.union > 0
        return SemanticScores(
            miou=float(iou.mean()),
            f=float(f.mean()),
            miou_no_bg=float(iou[:-1].mean()),
            f_no_bg=float(f[:-1].mean()),
            miou_without_class_0=float(iou[1:].mean()),
            f_without_class_0=float(f[1:].mean()),
            miou_seen_classes=_mean(iou[seen]),
            f_seen_classes=_mean(f[seen]),
            classes_seen=int(seen.sum()),
            miou_seen_foreground=_mean(iou[foreground]),
            f_seen_foreground=_mean(f[foreground]),
            iou_background=float(iou[0]),
            dataset_level_miou_seen_classes=_mean(self.intersection[pooled] / self.union[pooled]),
        )


class SemanticCounts:
    """The sums of a split twice: with the padded frames of 5-second clips, as released, and without.

    Attributes:
        official: with padding; its scores are the released ones.
        no_padding: the real frames only.
    """

    def __init__(self, classes: int = CLASSES) -> None:
        self.official = ClassOverlap(classes)
        self.no_padding = ClassOverlap(classes)

    def add(self, predicted: Tensor, labels: Tensor, *, padded_frames: int) -> None:
        """Add real frames, integers `[N, H, W]`, and count the frames that the release pads them with.

        Args:
            predicted: see `predicted_classes`.
            labels: the true classes.
            padded_frames: number of padded frames of the same clips: 5 for a clip of 5 seconds, 0 for one
                of 10.
        """
        frames = ClassOverlap(len(self.official.frame_count))
        frames.add(predicted, labels)
        self.no_padding.merge(frames)
        self.official.merge(frames)
        self.official.add_padding(padded_frames)

    def merge(self, other: SemanticCounts) -> None:
        """Add the sums of other clips."""
        self.official.merge(other.official)
        self.no_padding.merge(other.no_padding)


def _histogram(classes: Tensor, count: int) -> Array:
    return _counts(classes, count).numpy()


def _counts(classes: Tensor, count: int) -> Tensor:
    """Return pixels by frame and class: integers `[N, P]` → float64 `[N, count]`."""
    frames = len(classes)
    index = classes.long() + torch.arange(frames, device=classes.device)[:, None] * count
    return torch.bincount(index.flatten(), minlength=frames * count).reshape(frames, count).double()


def _mean(values: Array) -> float | None:
    return float(values.mean()) if values.size else None
