"""AVVP in pages: audible and visible classes of every second, true and predicted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ...shards.members import member, read_events, read_tags
from ...shards.schema import DatasetInfo
from ..strips import Row, Segment, flags_row
from .base import ClipRows, DetailTable, PredictedClip, TaskView

_ROWS = (("heard", 0), ("seen", 1))


class AvvpView(TaskView):
    """Classes of seconds by modality."""

    lead = "Audible and visible events in every second"
    score_label = "Type@AV by segment"
    clip_score = "Type@AV by segment"
    detail = DetailTable(
        "Classes and scores",
        "F of each class over the seconds of both modalities, and the official scores, means over the clips",
        "class or score",
        "seconds or clips",
    )
    metric_labels: ClassVar[Mapping[str, str]] = {
        "event_type_av": "Type@AV by event",
        "segment_event_av": "Event@AV by segment",
        "event_event_av": "Event@AV by event",
        "micro_video_any": "F of the classes of clips",
        "share_above_1": "pooled probabilities above 1",
    }
    clips_note = "Seconds whose classes differ from the true ones are marked ✗."

    def predicted_rows(self, clip: PredictedClip) -> ClipRows:
        from ...train.metrics.event_parsing import decide  # imports torch, which `inspect` does not need

        outputs, names = clip.outputs, clip.info.classes
        decisions = decide(outputs["logits"].sigmoid(), outputs["clip"])[0].numpy()
        if not clip.targets["dense"][0]:
            tags = clip.targets["tags"][0].numpy()
            rows = [_tags_row(names, tags, len(decisions))]
            return ClipRows(
                below=[*rows, *(flags_row(f"{word}, predicted", decisions[:, i], names) for word, i in _ROWS)]
            )
        events = clip.targets["events"][0].numpy()
        rows = []
        for word, index in _ROWS:
            true, predicted = events[:, index], decisions[:, index]
            rows.append(flags_row(f"{word}, true", true, names))
            rows.append(flags_row(f"{word}, predicted", predicted, names, true=true))
        return ClipRows(below=rows)

    def names_of(self, info: DatasetInfo, members: dict[str, bytes]) -> tuple[str, ...]:
        tags = read_tags(member(members, "tags.npy"), classes=len(info.classes))
        return tuple(name for name, tag in zip(info.classes, tags, strict=True) if tag)

    def true_rows(self, key: str, info: DatasetInfo, members: dict[str, bytes]) -> ClipRows:  # noqa: ARG002
        frames = info.features["sampling"]["frames"]
        if "events.npy" not in members:
            tags = read_tags(member(members, "tags.npy"), classes=len(info.classes))
            return ClipRows(below=[_tags_row(info.classes, tags, frames)])
        events = read_events(members["events.npy"], seconds=frames, classes=len(info.classes))
        return ClipRows(below=[flags_row(word, events[i].astype(bool), info.classes) for word, i in _ROWS])


def _tags_row(names: tuple[str, ...], tags: Any, seconds: int) -> Row:
    """Return the classes of a clip as one segment over all its seconds."""
    named = " + ".join(name for name, tag in zip(names, tags, strict=True) if tag) or "none"
    return Row("classes of the clip", segments=(Segment(named, seconds, None),))


VIEW = AvvpView()
