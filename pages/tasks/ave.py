"""AVE in pages: the class of every second, true and predicted."""

from __future__ import annotations

from ...figures import percent
from ...shards.members import class_name, member, read_labels
from ...shards.schema import DatasetInfo
from ..strips import Row, classes_row
from .base import ClipRows, DetailTable, PredictedClip, TaskView, in_order


class AveView(TaskView):
    """Classes of seconds."""

    lead = "Events in every second"
    score_label = "accuracy"
    clip_score = "of the seconds right"
    detail = DetailTable("Classes", "The share of each class's seconds that are right", "class", "seconds")

    def predicted_rows(self, clip: PredictedClip) -> ClipRows:
        true, names = clip.targets["labels"][0].tolist(), clip.info.classes
        shares = clip.outputs["logits"][0].softmax(-1)
        confidence = tuple(percent(float(share)) for share in shares.max(-1).values)
        return ClipRows(
            below=[
                classes_row("true", true, names),
                classes_row("predicted", shares.argmax(-1).tolist(), names, true=true),
                Row("how sure", cells=confidence),
            ]
        )

    def names_of(self, info: DatasetInfo, members: dict[str, bytes]) -> tuple[str, ...]:
        labels = read_labels(member(members, "label.npy"))
        return in_order(class_name(info.classes, label) for label in labels)

    def true_rows(self, key: str, info: DatasetInfo, members: dict[str, bytes]) -> ClipRows:  # noqa: ARG002
        return ClipRows(below=[classes_row("label", read_labels(member(members, "label.npy")), info.classes)])


VIEW = AveView()
