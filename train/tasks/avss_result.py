"""Results of AVSS: the official scores, those without padded frames, and the IoU of each class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from ..fields import field
from ..metrics.semantic import SemanticScores
from .meter import ScoreRow, TaskResult

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
