"""The order of an epoch: a function of the seed and the epoch alone, and how steps are shared out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from ..model.noise import Part

# Shuffling within this many shards at a time keeps reads of a clip's neighbours in few files.
SHARDS_PER_BLOCK = 16
ALL_QUESTIONS = -1


class Item(NamedTuple):
    """One clip of a step, as the loader's workers get it.

    Attributes:
        clip: its place in the manifest's rows of the split.
        question: which of its questions, `ALL_QUESTIONS`, or 0 where there are none.
        epoch: counted from 0.
        position: in the epoch; with seed and epoch it decides all that is random about the clip.
        part: the part of the step's batch that it belongs to.
        counted: False for a clip that only stands in where a part of the last batch would be empty.
    """

    clip: int
    question: int
    epoch: int
    position: int
    part: Part
    counted: bool


@dataclass(frozen=True)
class Shares:
    """A step's clips are cut into `total` parts; this process works off `own` of them, from `first` on."""

    total: int = 1
    first: int = 0
    own: int = 1


class EpochOrder(Sampler[list[Item]]):
    """The batches of an epoch, each as as many lists of items as this process has parts of it.

    With a `seed`, shards are shuffled first, then the clips within blocks of shards; without, it is the
    manifest's order. The last batch may be smaller. `start_at` chooses the epoch, and where in it to begin.
    """

    def __init__(
        self,
        shards: Sequence[str],
        batch_size: int,
        *,
        seed: int | None,
        shares: Shares | None = None,
        questions: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """`questions` counts each clip's; with it, every question is an item. Else every clip is one."""
        counts = np.ones(len(shards), dtype=np.int64) if questions is None else questions
        self._clips = np.repeat(np.arange(len(shards)), counts)
        self._questions = np.arange(len(self._clips)) - np.repeat(np.cumsum(counts) - counts, counts)
        if questions is None:
            self._questions[:] = ALL_QUESTIONS
        places = {shard: place for place, shard in enumerate(sorted(set(shards)))}
        self._shards = np.array([places[shard] for shard in shards], dtype=np.int64)[self._clips]
        self._batch_size = batch_size
        self._seed = seed
        self._shares = shares or Shares()
        self._epoch = self._first_batch = 0

    def start_at(self, epoch: int, batch: int = 0) -> None:
        """Chooses the epoch, counted from 0, that iteration goes over, and its first batch."""
        self._epoch, self._first_batch = epoch, batch

    @property
    def items(self) -> int:
        """Items of an epoch."""
        return len(self._clips)

    @property
    def batches(self) -> int:
        """Steps of an epoch."""
        return -(-self.items // self._batch_size)

    def steps_until(self, epoch: int) -> int:
        """Steps of all epochs before `epoch`."""
        return epoch * self.batches

    def __len__(self) -> int:
        return (self.batches - self._first_batch) * self._shares.own

    def __iter__(self) -> Iterator[list[Item]]:
        order = self.order()
        for batch in range(self._first_batch, self.batches):
            start = batch * self._batch_size
            places = order[start : start + self._batch_size]
            bounds = np.arange(self._shares.total + 1) * len(places) // self._shares.total
            for part in range(self._shares.first, self._shares.first + self._shares.own):
                yield self._part(places, start, int(bounds[part]), int(bounds[part + 1]))

    def _part(self, places: npt.NDArray[np.int64], start: int, first: int, last: int) -> list[Item]:
        counted = last > first
        chosen = range(first, last) if counted else range(1)
        part = Part(first if counted else 0, len(chosen), len(places))
        return [
            Item(
                clip=int(self._clips[places[index]]),
                question=int(self._questions[places[index]]),
                epoch=self._epoch,
                position=start + index,
                part=part,
                counted=counted,
            )
            for index in chosen
        ]

    def order(self) -> npt.NDArray[np.int64]:
        """All items in this epoch's order."""
        if self._seed is None:
            return np.arange(self.items)
        rng = np.random.default_rng([self._seed, self._epoch])
        rank = rng.permutation(self._shards.max() + 1)[self._shards]
        return np.lexsort((rng.random(len(rank)), rank // SHARDS_PER_BLOCK))


class ScoringOrder(Sampler[list[Item]]):
    """For scoring: every `world`-th clip from `rank` on, in the manifest's order, none twice."""

    def __init__(self, clips: int, batch_size: int, *, rank: int = 0, world: int = 1) -> None:
        self._clips = range(rank, clips, world)
        self._batch_size = batch_size
        self._epoch = 0

    def start_at(self, epoch: int) -> None:
        """Says after which epoch of training this is."""
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-len(self._clips) // self._batch_size)

    def __iter__(self) -> Iterator[list[Item]]:
        for start in range(0, len(self._clips), self._batch_size):
            chosen = self._clips[start : start + self._batch_size]
            part = Part(0, len(chosen), len(chosen))
            yield [Item(clip, ALL_QUESTIONS, self._epoch, clip, part, True) for clip in chosen]


def item_rng(seed: int, item: Item, purpose: int) -> Any:
    """A generator for one purpose and one item of one epoch, whoever works it off."""
    return np.random.default_rng([seed, item.epoch, item.position, purpose])
