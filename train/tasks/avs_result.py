"""Results of AVS: mIoU and F-score of a split, over the whole split and by test batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from ..fields import field
from ..metrics.binary_masks import BatchwiseScores
from .meter import ScoreRow, TaskResult, share

# Clips in a test batch of AVSBench, on which its scores depend, and the programs that use them.
BATCH_SIZES = {4: "AVSBench's script for S4", 1: "AVSBench's default for MS3"}


@dataclass(frozen=True)
class BatchwiseResult:
    """The scores as AVSBench reports them, means over test batches of consecutive clips.

    Attributes:
        clips_per_batch: the batch size.
        miou: mean over the batches; None without any.
        f_score: mean over the batches of the F-score at the best threshold of each.
        batches: their number.
        batches_without_object: those with empty masks only, which add an F-score of 0.
    """

    clips_per_batch: int
    miou: float
    f_score: float
    batches: int
    batches_without_object: int

    @classmethod
    def of(cls, scores: BatchwiseScores) -> Self:
        """Return the result for scores of the metric."""
        return cls(scores.clips_per_call, scores.miou, scores.f, len(scores.calls), scores.empty_calls)


@dataclass(frozen=True)
class AvsResult(TaskResult):
    """mIoU over all annotated frames, F-score over those that show an object.

    Attributes:
        threshold: at which the F-score is reached, one for the whole split.
        miou_with_object: mIoU over the frames that show an object.
        batchwise: the scores of AVSBench for its test batches; empty in results of earlier versions.
    """

    miou: float | None
    f_score: float | None
    threshold: float | None
    frames: int
    frames_without_object: int
    miou_with_object: float | None = None
    batchwise: tuple[BatchwiseResult, ...] = ()

    @property
    def score(self) -> float:
        return float("nan") if self.miou is None else self.miou

    def metrics(self) -> dict[str, float | None]:
        by_size = {one.clips_per_batch: one.f_score for one in self.batchwise}
        return {
            "miou": self.miou,
            "f_score": self.f_score,
            **{f"f_score_batch_{size}": by_size.get(size) for size in BATCH_SIZES},
            "miou_with_object": self.miou_with_object,
        }

    def rows(self) -> list[ScoreRow]:
        with_object = self.frames - self.frames_without_object
        rows = [
            ScoreRow("mIoU at 0.5", self.miou, self.frames, kind="score"),
            ScoreRow("F-score", self.f_score, with_object),
        ]
        for one in self.batchwise:
            rows += _batchwise_rows(one)
        if self.batchwise:
            rows += [
                ScoreRow("mIoU of frames with an object", self.miou_with_object, with_object),
                ScoreRow(
                    "frames without an object", share(self.frames_without_object, self.frames), self.frames
                ),
            ]
        return rows

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        given = {"miou_with_object": None, "batchwise": []} | dict(content)  # of later versions
        shares = {
            name: field(given, name, float | None)
            for name in ("miou", "f_score", "threshold", "miou_with_object")
        }
        frames = {name: field(given, name, int) for name in ("frames", "frames_without_object")}
        batchwise = tuple(map(_read_batchwise, field(given, "batchwise", list[dict[str, Any]])))
        return cls(**shares, **frames, batchwise=batchwise)


def _batchwise_rows(scores: BatchwiseResult) -> list[ScoreRow]:
    clips = scores.clips_per_batch
    name = f"F-score by batches of {clips}, {BATCH_SIZES.get(clips, 'another batch size')}"
    rows = [ScoreRow(name, scores.f_score, scores.batches)]
    if scores.batches_without_object:
        empty = scores.batches_without_object / scores.batches
        rows.append(ScoreRow(f"batches of {clips} without an object, F-score 0", empty, scores.batches))
    return rows


def _read_batchwise(content: Mapping[str, Any]) -> BatchwiseResult:
    sizes = [field(content, name, int) for name in ("clips_per_batch", "batches", "batches_without_object")]
    scores = [field(content, name, float) for name in ("miou", "f_score")]
    return BatchwiseResult(sizes[0], *scores, *sizes[1:])
