"""AVC in pages: the classes of a clip, true and predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from ...figures import class_hue, percent
from ...shards.members import member, read_tags
from ...shards.schema import DatasetInfo
from ...train.tasks import task_of
from ...train.tasks.avc import AvcTask
from ..strips import Row, Segment, count_frames
from .base import ClipRows, DetailTable, PredictedClip, TaskView

_LIKELIEST = 5


class AvcView(TaskView):
    """Classes of clips."""

    lead = "Classes of clips"
    score_label = "accuracy"
    clip_score = "of the labels right"
    metric_labels: ClassVar = {"accuracy_at_5": "accuracy at 5", "map": "mAP"}
    detail = DetailTable(
        "Classes",
        "The share of each class's clips that are right; with several labels a clip, the average precision",
        "class",
        "clips",
    )

    def predicted_rows(self, clip: PredictedClip) -> ClipRows:
        task, names = cast(AvcTask, task_of(clip.info)), clip.info.classes
        shares = task.shares(clip.outputs["logits"][0]).numpy()
        true = clip.targets["tags"][0].nonzero().flatten().tolist()
        predicted, frames = task.predicted(shares), count_frames(clip.members)
        likeliest = ", ".join(
            f"{names[index]} {percent(float(shares[index]))}" for index in (-shares).argsort()[:_LIKELIEST]
        )
        return ClipRows(
            below=[
                _row("true", true, names, frames),
                _row("predicted", predicted, names, frames, wrong=set(predicted) != set(true)),
                Row("likeliest", segments=(Segment(likeliest, frames, None),)),
            ]
        )

    def names_of(self, info: DatasetInfo, members: dict[str, bytes]) -> tuple[str, ...]:
        tags = read_tags(member(members, "tags.npy"), classes=len(info.classes))
        return tuple(name for name, tag in zip(info.classes, tags, strict=True) if tag)


def _row(
    heading: str, labels: Sequence[int], names: Sequence[str], frames: int, *, wrong: bool = False
) -> Row:
    """Return the labels of a clip over its whole length, in the colour of the first one."""
    hue = None
    if labels and (degrees := class_hue(labels[0], len(names) + 1)) is not None:
        hue = round(degrees)
    text = ", ".join(names[index] for index in labels) or "no label"
    return Row(heading, segments=(Segment(text, frames, hue, wrong),))


VIEW = AvcView()
