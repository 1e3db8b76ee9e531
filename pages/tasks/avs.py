"""AVS in pages: frames with their masks, true and predicted."""

from __future__ import annotations

from ...shards.members import member, read_description
from ...shards.schema import DatasetInfo
from ..strips import masks_row, true_masks
from .base import ClipRows, DetailTable, PredictedClip, TaskView


class AvsView(TaskView):
    """Masks of frames."""

    lead = "Masks of the pixels that make the sound, second by second"
    hub_task = "image-segmentation"
    score_label = "mIoU"
    clip_score = "mIoU"
    metric_labels = {  # noqa: RUF012
        "f_score": "F-score",
        "f_score_batch_1": "F-score by batches of 1",
        "f_score_batch_4": "F-score by batches of 4",
        "miou_with_object": "mIoU of frames with an object",
    }
    detail = DetailTable(
        "Measures",
        "mIoU over all frames, F-score (β² = 0.3) over those that show what sounds: at the best threshold of "
        "the whole split, and as AVSBench reports it, the mean over test batches of their best",
        "measure",
        "frames",
    )
    clips_note = ""
    samples_note = "Where a mask exists, the pixels that sound are red and the others dark."

    def predicted_rows(self, clip: PredictedClip) -> ClipRows:
        predicted = (clip.outputs["mask_logits"][0].squeeze(1) > 0).numpy()
        true, frames = true_masks(clip.members), f"Frames of {clip.key}"
        return ClipRows(
            above=[
                masks_row("true", clip.members, true, f"{frames} with the pixels that sound"),
                masks_row("predicted", clip.members, predicted, f"{frames} with the pixels said to sound"),
            ]
        )

    def names_of(self, info: DatasetInfo, members: dict[str, bytes]) -> tuple[str, ...]:  # noqa: ARG002
        return (str(read_description(member(members, "json")).get("category", "")),)

    def true_rows(self, key: str, info: DatasetInfo, members: dict[str, bytes]) -> ClipRows:  # noqa: ARG002
        masks = true_masks(members)
        known = sum(mask is not None for mask in masks)
        alt = f"Frames of {key}, {known} of {len(masks)} with their mask"
        return ClipRows(above=[masks_row("masks", members, masks, alt)])


VIEW = AvsView()
