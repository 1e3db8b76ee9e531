"""The clips that a model is best and worst at: what is true, what it said, how sure it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..console import progress
from ..figures import percent
from ..model import load_model
from ..shards.members import Question, named_clip, question_text, read_questions
from ..shards.storage import Location
from ..train.data import Batch, ClipDataset, make_loader, open_task
from ..train.distributed import pick_device
from ..train.evaluation import outputs
from ..train.loading import open_clips
from ..train.memory import memory_explained, scoring_advice
from ..train.objective import set_tf32
from ..train.order import ScoringOrder
from ..train.run_folder import RunFolder
from ..train.tasks.ave import AveTask
from ..train.tasks.avqa import AvqaTask
from ..train.tasks.avs import frame_iou
from ..train.tasks.base import Task, Tensors
from .strips import Row, Strip, classes_row, clip_strip, frames_row, masks_row, sound_row, true_masks


@dataclass(frozen=True)
class Answer:
    """A question, the true and the predicted answer, and the share of the latter."""

    question: str
    true: str
    predicted: str
    confidence: float

    @property
    def right(self) -> bool:
        """Whether the predicted answer is the true one."""
        return self.true == self.predicted


@dataclass(frozen=True)
class ClipView:
    """A clip as a report shows it. `score`: how good the model is on it, a share."""

    key: str
    score: float
    strip: Strip
    answers: tuple[Answer, ...] = ()


@dataclass(frozen=True)
class RankedClips:
    """The clips that are predicted best, best first, and worst, worst first; none is in both.

    What is wholly right is not among the worst; `all_right` says that there is nothing else.
    """

    best: list[ClipView]
    worst: list[ClipView]
    all_right: bool


@dataclass(frozen=True)
class _Clip:
    """One clip's outputs and targets, without the batch's first dimension."""

    outputs: Tensors
    targets: Tensors


def ranked_clips(
    run: RunFolder, shards: Location, split: str, *, count: int, weights: str | Path | None = None
) -> RankedClips:
    """Of the clips of `split` the `count` / 2 best predicted and as many of the worst.

    The model scores every clip; pictures are made of those that are shown.
    """
    config = run.read_config()
    task = open_task(shards)
    device = pick_device()
    model = load_model(run.best, weights)
    set_tf32(allowed=config.train.tf32)
    dataset = open_clips(shards, split, task, config.data, model.config, measured=run.read_dataset())
    with (
        closing(dataset),
        memory_explained(f"scoring {config.optim.batch_size} clips at a time", device, scoring_advice),
    ):
        model.to(device)

        def made(order: ScoringOrder, workers: int) -> Any:
            loader = make_loader(dataset, order, workers=workers)
            return outputs(model, loader, device, config.train.precision)

        score = _SCORES[task.name]
        scores: list[float] = []
        with progress("clips") as bar:
            row = bar.add_task("rank clips", total=len(dataset), note="")
            for batch, output in made(
                ScoringOrder(len(dataset), config.optim.batch_size), config.data.workers
            ):
                scores += [score(clip) for clip in _clips(batch, output)]
                bar.update(row, completed=len(scores))
        best, worst = best_and_worst(scores, count)
        views = {
            index: _view(task, dataset, index, clip, scores[index])
            for index, (batch, output) in zip([*best, *worst], made(_Chosen([*best, *worst]), 0), strict=True)
            for clip in _clips(batch, output)
        }
    return RankedClips(
        [views[index] for index in best], [views[index] for index in worst], all_right=min(scores) == 1
    )


def best_and_worst(scores: Sequence[float], count: int) -> tuple[list[int], list[int]]:
    """Where the highest scores are, highest first, and the lowest, lowest first; at most `count` in all.

    A score of 1 is none of the lowest, however few are lower.
    """
    ranked = [int(index) for index in np.argsort([-value for value in scores], kind="stable")]
    shown = min(count, len(ranked))
    best = ranked[: (shown + 1) // 2]
    worst = ranked[len(ranked) - shown // 2 :]
    return best, [index for index in worst[::-1] if scores[index] < 1]


class _Chosen(ScoringOrder):
    """Some clips, one a batch: predictions of all would not fit in memory."""

    def __init__(self, chosen: list[int]) -> None:
        super().__init__(len(chosen), 1)
        self._clips = chosen  # type: ignore[assignment]


def _clips(batch: Batch, made: Tensors) -> list[_Clip]:
    owner = batch.targets.get("owner")
    clips = []
    for place in range(len(batch.keys)):
        own = place if owner is None else owner == place
        clips.append(
            _Clip(
                {name: tensor[own] for name, tensor in made.items()},
                {name: tensor[own] for name, tensor in batch.targets.items()},
            )
        )
    return clips


def _seconds_right(clip: _Clip) -> float:
    return float((clip.outputs["logits"].argmax(-1) == clip.targets["labels"]).float().mean())


def _mean_iou(clip: _Clip) -> float:
    annotated = clip.targets["annotated"]
    if not annotated.any():
        return 0.0
    logits = clip.outputs["mask_logits"].squeeze(1)[annotated]
    return float(frame_iou(logits > 0, clip.targets["masks"][annotated]).mean())


def _questions_right(clip: _Clip) -> float:
    return float((clip.outputs["answer_logits"].argmax(-1) == clip.targets["answer"]).float().mean())


_SCORES: dict[str, Callable[[_Clip], float]] = {
    "ave": _seconds_right,
    "avs": _mean_iou,
    "avqa": _questions_right,
}


def _view(task: Task, dataset: ClipDataset, index: int, clip: _Clip, score: float) -> ClipView:
    key = dataset.places[index].key
    members = dataset.members(index)
    with named_clip(dataset.location, key):
        return _drawn(task, dataset, key, members, clip, score)


def _drawn(
    task: Task, dataset: ClipDataset, key: str, members: dict[str, bytes], clip: _Clip, score: float
) -> ClipView:
    rows = [frames_row(key, members)]
    answers: tuple[Answer, ...] = ()
    if isinstance(task, AvqaTask):
        answers = _answers(task, clip, read_questions(members["qa.json"]))
    elif not isinstance(task, AveTask):
        predicted = (clip.outputs["mask_logits"].squeeze(1) > 0).numpy()
        rows += [
            masks_row("true", members, true_masks(members), f"Frames of {key} with the pixels that sound"),
            masks_row("predicted", members, predicted, f"Frames of {key} with the pixels said to sound"),
        ]
    rows.append(sound_row(key, members, dataset.fbank))
    if isinstance(task, AveTask):
        true, names = clip.targets["labels"].tolist(), task.info.classes
        shares = clip.outputs["logits"].softmax(-1)
        rows += [
            classes_row("true", true, names),
            classes_row("predicted", shares.argmax(-1).tolist(), names, true=true),
        ]
        confidence = tuple(percent(float(share)) for share in shares.max(-1).values)
        rows.append(Row("how sure", cells=confidence))
    return ClipView(key, score, clip_strip(members, task.info, rows), answers)


def _answers(task: AvqaTask, clip: _Clip, asked: list[Question]) -> tuple[Answer, ...]:
    names = list(task.answers)
    shares = clip.outputs["answer_logits"].softmax(-1)
    rows = zip(asked, shares.argmax(-1).tolist(), shares.max(-1).values, strict=True)
    return tuple(
        Answer(question_text(one), one["answer"], names[predicted], float(share))
        for one, predicted, share in rows
    )
