"""What a page shows of single clips: what is true, what the model said, and how good that is."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..model import load_model
from ..shards.storage import Location
from ..train.data import Batch, ClipDataset, make_loader, open_task
from ..train.distributed import pick_device
from ..train.evaluation import outputs
from ..train.order import ScoringOrder
from ..train.run_folder import RunFolder
from ..train.tasks import AveTask, AvqaTask, Task, Tensors
from ..train.tasks.avs import frame_iou
from .pictures import data_url, frame_strip, spectrogram

CLIPS_SHOWN = 8


@dataclass(frozen=True)
class Said:
    """What is shown for one second or one question."""

    true: str
    predicted: str
    confidence: float
    right: bool
    hue: int | None = None
    true_hue: int | None = None
    question: str = ""


@dataclass(frozen=True)
class ClipView:
    """A clip as a page shows it.

    Attributes:
        key: the clip.
        score: how good the model is on it, a share.
        frames: its frames as a picture, likewise `spectrogram`; AVS: `true_masks` and `predicted_masks` too.
        said: AVE: each second. AVQA: each question.
    """

    key: str
    score: float
    frames: str
    spectrogram: str
    said: tuple[Said, ...] = ()
    true_masks: str = ""
    predicted_masks: str = ""


@dataclass(frozen=True)
class _Clip:
    """One clip's outputs and targets, without the batch's first dimension."""

    outputs: Tensors
    targets: Tensors


def clip_views(run: RunFolder, shards: Location, split: str) -> list[ClipView]:
    """`CLIPS_SHOWN` clips of `split`, spread evenly from the best predicted to the worst."""
    config = run.read_config()
    task = open_task(shards)
    device = pick_device()
    model = load_model(run.best)
    model.to(device)
    dataset = ClipDataset(shards, split, task, config.data, model.config)
    with closing(dataset):
        order = ScoringOrder(len(dataset), config.optim.batch_size)
        loader = make_loader(dataset, order, workers=config.data.workers)
        score = _SCORES[task.name]
        scores = [
            score(clip)
            for batch, made in outputs(model, loader, device, config.train.precision)
            for clip in _clips(batch, made)
        ]
        ranked = np.argsort([-value for value in scores], kind="stable")
        places = np.unique(np.linspace(0, len(ranked) - 1, CLIPS_SHOWN).round().astype(int))
        chosen = [int(index) for index in ranked[places]]
        again = make_loader(dataset, _Chosen(chosen), workers=0)
        made_again = outputs(model, again, device, config.train.precision)
        return [
            _view(task, dataset, index, clip, scores[index])
            for index, (batch, made) in zip(chosen, made_again, strict=True)
            for clip in _clips(batch, made)
        ]


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
    members = dataset.members(index)
    masks: dict[str, str] = {}
    said: tuple[Said, ...] = ()
    if isinstance(task, AveTask):
        said = _seconds(task, clip)
    elif isinstance(task, AvqaTask):
        said = _answers(task, clip, json.loads(members["qa.json"]))
    else:
        predicted = (clip.outputs["mask_logits"].squeeze(1) > 0).numpy()
        masks["predicted_masks"] = data_url(frame_strip(members, predicted))
        masks["true_masks"] = data_url(frame_strip(members, clip.targets["masks"].numpy()))
    features = np.load(io.BytesIO(members[f"{dataset.fbank}.npy"]), allow_pickle=False)
    return ClipView(
        key=dataset.places[index].key,
        score=score,
        frames=data_url(frame_strip(members)),
        spectrogram=data_url(spectrogram(features)),
        said=said,
        **masks,
    )


def _seconds(task: AveTask, clip: _Clip) -> tuple[Said, ...]:
    names = task.info.classes
    shares = clip.outputs["logits"].softmax(-1)
    rows = zip(
        clip.targets["labels"].tolist(), shares.argmax(-1).tolist(), shares.max(-1).values, strict=True
    )
    return tuple(
        Said(
            true=names[true],
            predicted=names[predicted],
            confidence=float(share),
            right=true == predicted,
            hue=_hue(predicted, len(names)),
            true_hue=_hue(true, len(names)),
        )
        for true, predicted, share in rows
    )


def _hue(index: int, classes: int) -> int | None:
    """A colour for a class; the last, background, has none."""
    return None if index == classes - 1 else round(360 * index / max(classes - 1, 1))


def _answers(task: AvqaTask, clip: _Clip, asked: list[dict[str, Any]]) -> tuple[Said, ...]:
    names = list(task.answers)
    shares = clip.outputs["answer_logits"].softmax(-1)
    rows = zip(asked, shares.argmax(-1).tolist(), shares.max(-1).values, strict=True)
    return tuple(
        Said(
            true=one["answer"],
            predicted=names[predicted],
            confidence=float(share),
            right=one["answer"] == names[predicted],
            question=" ".join(one["words"]).rstrip(),
        )
        for one, predicted, share in rows
    )
