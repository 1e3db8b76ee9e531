"""AVSS in pages: frames with the classes of their pixels, true and predicted."""

from __future__ import annotations

import numpy as np

from ...shards.schema import DatasetInfo
from ..strips import class_cells_row, count_frames, masks_row, true_class_maps
from .base import ClipRows, DetailTable, PredictedClip, TaskView


class AvssView(TaskView):
    """Classes of pixels."""

    lead = "The class of every pixel that makes a sound, second by second"
    hub_task = "image-segmentation"
    score_label = "mIoU, official"
    clip_score = "mIoU over the classes of the clip"
    metric_labels = {  # noqa: RUF012
        "f_score": "F-score, official",
        "miou_foreground": "mIoU without background",
        "miou_seen": "mIoU of classes seen",
        "miou_pooled": "mIoU, pixels pooled",
    }
    detail = DetailTable(
        "Measures and classes",
        "Official scores count classes that never occur as 0, and the frames that pad clips of 5 s; "
        "F-score with β² = 0.3; IoU of each class over the frames in which it occurs",
        "measure or class",
        "frames",
    )
    clips_note = "Pixels have the colour of their class."
    samples_note = "Where a mask exists, pixels have the colour of their class, and the others are dark."

    def predicted_rows(self, clip: PredictedClip) -> ClipRows:
        names, count = clip.info.classes, count_frames(clip.members)
        true, predicted = (
            true_class_maps(clip.members, len(names)),
            list(clip.outputs["classes"][0, :count].numpy()),
        )
        alt = f"Frames of {clip.key} with the classes of their pixels"
        return ClipRows(
            above=[
                masks_row("true", clip.members, true, alt),
                class_cells_row("", true, names),
                masks_row("predicted", clip.members, predicted, f"{alt}, predicted"),
                class_cells_row("", predicted, names),
            ]
        )

    def names_of(self, info: DatasetInfo, members: dict[str, bytes]) -> tuple[str, ...]:
        maps = [one for one in true_class_maps(members, len(info.classes)) if one is not None]
        found = np.unique(np.stack(maps)) if maps else np.zeros(0, dtype=np.uint8)
        return tuple(info.classes[index] for index in found if index)

    def true_rows(self, key: str, info: DatasetInfo, members: dict[str, bytes]) -> ClipRows:
        maps = true_class_maps(members, len(info.classes))
        known = sum(one is not None for one in maps)
        alt = f"Frames of {key}, {known} of {len(maps)} with the classes of their pixels"
        return ClipRows(
            above=[masks_row("masks", members, maps, alt), class_cells_row("", maps, info.classes)]
        )


VIEW = AvssView()
