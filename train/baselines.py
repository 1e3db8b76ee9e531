"""What answers without looking or listening would score: the least that a model has to beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..shards.manifest import read_manifest
from ..shards.members import MASK_PIXELS, read_labels, read_mask, read_questions
from ..shards.reader import small_members
from ..shards.schema import QUESTION_TYPES, SHARD_FOLDER
from ..shards.storage import Location, open_store
from .tasks import AveTask, AvqaTask, Task
from .tasks.avqa import AnswerMeter
from .tasks.avs import MaskMeter, frame_iou

_MASKS_CUT = 500


def baselines(task: Task, shards: Location, split: str) -> dict[str, float]:
    """Name to score of every baseline on `split`; what they know is from the training split."""
    if isinstance(task, AveTask):
        return _ave(shards, split)
    return _avqa(shards, split) if isinstance(task, AvqaTask) else _avs(shards, split)


def _members(shards: Location, split: str, suffixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    store = open_store(shards)
    for shard in dict.fromkeys(record.shard for record in read_manifest(shards, split=split)):
        yield from small_members(store, f"{SHARD_FOLDER}/{shard}", suffixes)


def _ave(shards: Location, split: str) -> dict[str, float]:
    """The training split's most frequent class, in every second."""

    def labels(which: str) -> Any:
        found = [read_labels(content) for _, content in _members(shards, which, ("label.npy",))]
        return np.concatenate(found) if found else np.zeros(0, dtype=np.int16)

    trained, true = labels("train"), labels(split)
    if not len(trained) or not len(true):
        return {}
    return {"most frequent class": float((true == np.bincount(trained).argmax()).mean())}


def _avs(shards: Location, split: str) -> dict[str, float]:
    """Every pixel, no pixel, and the mean training mask at its best cut."""
    suffixes = tuple(f"mask_{number:02d}.png" for number in range(32))
    trained, count = [], 0  # the first ones; all would take gigabytes
    total = torch.zeros(MASK_PIXELS, MASK_PIXELS, dtype=torch.int64)
    for _, mask in _masks(shards, "train", suffixes):
        trained += [mask] if count < _MASKS_CUT else []
        total += mask
        count += 1
    share = (total.double() / max(count, 1)).float()
    guesses = {
        "everything": torch.ones_like(share),
        "nothing": torch.zeros_like(share),
        "mean training mask": _best_cut(share, trained),
    }
    meters = {name: MaskMeter() for name in guesses}
    for _, mask in _masks(shards, split, suffixes):
        for name, guess in guesses.items():
            meters[name].add(guess[None], guess[None] > 0.5, mask[None])
    return {name: meter.score() for name, meter in meters.items()}


def _masks(shards: Location, split: str, suffixes: tuple[str, ...]) -> Iterator[tuple[str, Tensor]]:
    for name, content in _members(shards, split, suffixes):
        yield name, torch.from_numpy(read_mask(content, name))


def _best_cut(share: Tensor, trained: list[Tensor]) -> Tensor:
    """The mean mask, cut where it overlaps most with `trained`, the first training masks."""
    if not trained:
        return torch.zeros_like(share)
    masks = torch.stack(trained)
    cuts = [share >= cut for cut in torch.linspace(0.05, 0.95, 19)]
    best: Tensor = max(cuts, key=lambda cut: float(frame_iou(cut.expand_as(masks), masks).mean()))
    return best.float()


def _avqa(shards: Location, split: str) -> dict[str, float]:
    """The training split's most frequent answer to the same template, else to any question."""
    answers: dict[str, Counter[str]] = {}
    overall: Counter[str] = Counter()
    for _, content in _members(shards, "train", ("qa.json",)):
        for asked in read_questions(content):
            answers.setdefault(asked["template"], Counter())[asked["answer"]] += 1
            overall[asked["answer"]] += 1
    if not overall:
        return {}
    common = overall.most_common(1)[0][0]
    meters = {"most frequent answer": AnswerMeter(), "most frequent answer to the template": AnswerMeter()}
    for _, content in _members(shards, split, ("qa.json",)):
        for asked in read_questions(content):
            to_template = answers.get(asked["template"], overall).most_common(1)[0][0]
            for meter, answer in zip(meters.values(), (common, to_template), strict=True):
                kind = torch.tensor([QUESTION_TYPES.index(tuple(asked["type"]))])
                meter.add(torch.tensor([int(answer == asked["answer"])]), torch.tensor([1]), kind)
    return {name: meter.score() for name, meter in meters.items()}
