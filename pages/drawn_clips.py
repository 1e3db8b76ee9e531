"""Predictions of some clips as pictures: the rows of the report, drawn as PNG."""

from __future__ import annotations

import torch

from ..figures import percent
from ..model import STGCMA
from ..train.batch import make_loader
from ..train.data import ClipDataset
from ..train.evaluation import outputs
from .clip_picture import draw_clip
from .views import ChosenClips, view_clip


def draw_clips(
    model: STGCMA, clips: ClipDataset, *, device: torch.device, precision: str, count: int
) -> dict[str, bytes]:
    """Return pictures of the predictions of `count` clips, PNG by key.

    The clips are spread evenly over the split, the same at every call; nothing is drawn at random. The model
    is left in evaluation mode.
    """
    task, chosen = clips.task, spread(len(clips), count)
    loader = make_loader(clips, ChosenClips(chosen), workers=0)
    pictures = {}
    for index, (batch, made) in zip(chosen, outputs(model, task, loader, device, precision), strict=True):
        one, targets = task.clip_of(made, batch.targets, 0)
        view = view_clip(clips, index, one, targets, task.clip_score(one, targets))
        pictures[view.key] = draw_clip(view, title=view.key, caption=f"score: {percent(view.score)}")
    return pictures


def spread(clips: int, count: int) -> list[int]:
    """Return at most `count` indices below `clips`, evenly spaced, the first and the last among them."""
    if count >= clips:
        return list(range(clips))
    return [round(number * (clips - 1) / max(count - 1, 1)) for number in range(count)]
