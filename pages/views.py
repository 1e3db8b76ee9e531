"""The clips of a split that a model predicts best and worst, with true and predicted answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..console import progress
from ..errors import InputError
from ..model import STGCMA, load_model
from ..shards.members import named_clip
from ..shards.storage import Location
from ..train.batch import make_loader
from ..train.config import RunConfig
from ..train.data import ClipDataset, open_task
from ..train.distributed import pick_device
from ..train.evaluation import outputs
from ..train.loading import open_clips
from ..train.memory import memory_explained, scoring_advice
from ..train.objective import set_tf32
from ..train.order import ScoringOrder
from ..train.run_folder import RunFolder
from ..train.tasks.meter import Tensors
from .strips import Strip, clip_strip, frames_row, sound_row
from .tasks import VIEWS
from .tasks.base import PredictedAnswer, PredictedClip


@dataclass(frozen=True)
class ClipView:
    """A clip of a report. `score`: the task's score of this clip alone, a share."""

    key: str
    score: float
    strip: Strip
    answers: tuple[PredictedAnswer, ...] = ()


@dataclass(frozen=True)
class RankedClips:
    """The clips that are predicted best, best first, and worst, worst first; none is in both.

    Clips with a score of 1 are not among the worst; `all_right` is set when all clips have it.
    """

    best: list[ClipView]
    worst: list[ClipView]
    all_right: bool


def ranked_clips(
    run: RunFolder, shards: Location, split: str, *, count: int, weights: str | Path | None = None
) -> RankedClips:
    """Return the `count` / 2 best predicted clips of `split`, and as many of the worst.

    The model scores every clip; pictures are made of those that are returned. Raises as `evaluate`.
    """
    with _opened(run, shards, split, weights) as opened, progress("clips") as bar:
        total = len(opened.dataset)
        row = bar.add_task("rank clips", total=total, note="")
        scores: list[float] = []
        for made, targets in opened.predicted(ScoringOrder(total, opened.batch_size), opened.workers):
            scores.append(opened.task.clip_score(made, targets))
            bar.update(row, completed=len(scores))
        best, worst = best_and_worst(scores, count)
        views = opened.views([*best, *worst])
    return RankedClips(
        [views[index] for index in best], [views[index] for index in worst], all_right=min(scores) == 1
    )


def predicted_clip(
    run: RunFolder, shards: Location, split: str, *, index: int = 0, weights: str | Path | None = None
) -> ClipView:
    """Return clip `index` of a split, in manifest order, with its prediction. Raises as `evaluate`."""
    with _opened(run, shards, split, weights) as opened:
        if index >= len(opened.dataset):
            raise InputError(f"{shards} has {len(opened.dataset)} {split} clips, none of number {index}")
        return opened.views([index])[index]


class _Opened:
    """The clips of a split, and a model that predicts them."""

    def __init__(self, dataset: ClipDataset, model: STGCMA, device: torch.device, config: RunConfig) -> None:
        self.dataset, self.task = dataset, dataset.task
        self.batch_size, self.workers = config.optim.batch_size, config.data.workers or 0
        self._model, self._device, self._precision = model, device, config.train.precision

    def predicted(self, order: ScoringOrder, workers: int) -> Iterator[tuple[Tensors, Tensors]]:
        """Yield outputs and targets of one clip after the other."""
        loader = make_loader(self.dataset, order, workers=workers)
        for batch, made in outputs(self._model, self.task, loader, self._device, self._precision):
            for index in range(len(batch.keys)):
                yield self.task.clip_of(made, batch.targets, index)

    def views(self, chosen: list[int]) -> dict[int, ClipView]:
        """Return the clips `chosen`, by their index."""
        found = {}
        for index, (made, targets) in zip(chosen, self.predicted(ChosenClips(chosen), 0), strict=True):
            found[index] = view_clip(self.dataset, index, made, targets, self.task.clip_score(made, targets))
        return found


@contextmanager
def _opened(run: RunFolder, shards: Location, split: str, weights: str | Path | None) -> Iterator[_Opened]:
    """Open the clips and the model of a run, and close the clips."""
    config = run.read_config()
    task = open_task(shards)
    device = pick_device()
    model = load_model(run.best, weights)
    set_tf32(allowed=config.train.tf32)
    data = config.data.of_all_clips()
    dataset = open_clips(shards, split, task, data, model.config, measured=run.read_dataset())
    with (
        closing(dataset),
        memory_explained(f"scoring {config.optim.batch_size} clips at a time", device, scoring_advice),
    ):
        model.to(device)
        yield _Opened(dataset, model, device, config)


def best_and_worst(scores: Sequence[float], count: int) -> tuple[list[int], list[int]]:
    """Return the indices of the highest scores, highest first, and of the lowest, lowest first.

    At most `count` in all. A score of 1 is not among the lowest.
    """
    ranked = [int(index) for index in np.argsort([-value for value in scores], kind="stable")]
    shown = min(count, len(ranked))
    best = ranked[: (shown + 1) // 2]
    worst = ranked[len(ranked) - shown // 2 :]
    return best, [index for index in worst[::-1] if scores[index] < 1]


class ChosenClips(ScoringOrder):
    """Some clips, one a batch: the predictions of all clips would not fit in memory."""

    def __init__(self, chosen: list[int]) -> None:
        super().__init__(len(chosen), 1)
        self._clips = chosen  # type: ignore[assignment]


def view_clip(dataset: ClipDataset, index: int, made: Tensors, targets: Tensors, score: float) -> ClipView:
    """Return the view of clip `index`, given its outputs and targets as a batch of one clip."""
    key, members, info = dataset.places[index].key, dataset.members(index), dataset.task.info
    clip = PredictedClip(key, members, info, made, targets)
    view = VIEWS[info.task]
    with named_clip(dataset.location, key):
        rows = view.predicted_rows(clip)
        sound = sound_row(key, members, dataset.fbank)
        strip = clip_strip(members, info, [frames_row(key, members), *rows.above, sound, *rows.below])
        return ClipView(key, score, strip, view.answers(clip))
