"""The order of the clips of an epoch, a function of the seed and the epoch, and its micro-batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from ..model.noise import BatchSlice

# Shuffling within this many shards at a time keeps reads of neighbouring clips in few files.
SHARDS_PER_BLOCK = 16
ALL_QUESTIONS = -1


class Item(NamedTuple):
    """One clip of a step, as the sampler gives it to the loader's workers.

    Attributes:
        clip: index of its row among the manifest's rows of the split.
        question: index of one of its questions, `ALL_QUESTIONS`, or 0 where there are none.
        epoch: counted from 0.
        position: in the epoch; seed, epoch and position decide all random draws for the clip.
        batch_slice: the slice of the step's batch that its micro-batch is.
        counted: False for a padding clip, in a micro-batch of the last step that would otherwise be empty.
    """

    clip: int
    question: int
    epoch: int
    position: int
    batch_slice: BatchSlice
    counted: bool


@dataclass(frozen=True)
class MicroBatches:
    """The division of a step: `total` micro-batches, of which this process has `count` from `first` on."""

    total: int = 1
    first: int = 0
    count: int = 1


class EpochOrder(Sampler[list[Item]]):
    """The micro-batches of this process in an epoch, `micro_batches.count` of them in each step.

    With a `seed`, shards are shuffled first, then the clips within blocks of shards; without, the order is
    the manifest's. The last step may have fewer clips. `start_at` chooses the epoch and the first step.
    """

    def __init__(
        self,
        shards: Sequence[str],
        batch_size: int,
        *,
        seed: int | None,
        micro_batches: MicroBatches | None = None,
        questions: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """`shards` names the shard of every clip. With `questions`, the number of questions of every clip,
        every question is an item; without, every clip is.
        """
        counts = np.ones(len(shards), dtype=np.int64) if questions is None else questions
        self._clips = np.repeat(np.arange(len(shards)), counts)
        self._questions = np.arange(len(self._clips)) - np.repeat(np.cumsum(counts) - counts, counts)
        if questions is None:
            self._questions[:] = ALL_QUESTIONS
        indices = {shard: index for index, shard in enumerate(sorted(set(shards)))}
        self._shards = np.fromiter(map(indices.__getitem__, shards), np.int64, len(shards))[self._clips]
        self._batch_size = batch_size
        self._seed = seed
        self._micro_batches = micro_batches or MicroBatches()
        self._epoch = self._first_step = 0

    def start_at(self, epoch: int, step: int = 0) -> None:
        """Set the epoch, counted from 0, that iteration yields, and the first step in it."""
        self._epoch, self._first_step = epoch, step

    @property
    def items(self) -> int:
        """Items of an epoch."""
        return len(self._clips)

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-self.items // self._batch_size)

    def steps_until(self, epoch: int) -> int:
        """Return the steps of all epochs before `epoch`."""
        return epoch * self.steps

    def __len__(self) -> int:
        return (self.steps - self._first_step) * self._micro_batches.count

    def __iter__(self) -> Iterator[list[Item]]:
        order = self.order()
        divided = self._micro_batches
        for step in range(self._first_step, self.steps):
            start = step * self._batch_size
            indices = order[start : start + self._batch_size]
            bounds = np.arange(divided.total + 1) * len(indices) // divided.total
            for number in range(divided.first, divided.first + divided.count):
                yield self._micro_batch(indices, start, int(bounds[number]), int(bounds[number + 1]))

    def _micro_batch(self, indices: npt.NDArray[np.int64], start: int, first: int, last: int) -> list[Item]:
        counted = last > first
        chosen = range(first, last) if counted else range(1)
        batch_slice = BatchSlice(first if counted else 0, len(chosen), len(indices))
        return [
            Item(
                clip=int(self._clips[indices[number]]),
                question=int(self._questions[indices[number]]),
                epoch=self._epoch,
                position=start + number,
                batch_slice=batch_slice,
                counted=counted,
            )
            for number in chosen
        ]

    def order(self) -> npt.NDArray[np.int64]:
        """Return the indices of all items in this epoch's order."""
        if self._seed is None:
            return np.arange(self.items)
        rng = np.random.default_rng([self._seed, self._epoch])
        rank = rng.permutation(self._shards.max() + 1)[self._shards]
        return np.lexsort((rng.random(len(rank)), rank // SHARDS_PER_BLOCK))


class ScoringOrder(Sampler[list[Item]]):
    """The batches of an evaluation: every `world_size`-th clip from `rank` on, in the manifest's order."""

    def __init__(self, clips: int, batch_size: int, *, rank: int = 0, world_size: int = 1) -> None:
        self._clips = range(rank, clips, world_size)
        self._batch_size = batch_size
        self._epoch = 0

    def start_at(self, epoch: int) -> None:
        """Set the epoch of training after which the split is scored."""
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-len(self._clips) // self._batch_size)

    def __iter__(self) -> Iterator[list[Item]]:
        for start in range(0, len(self._clips), self._batch_size):
            chosen = self._clips[start : start + self._batch_size]
            batch_slice = BatchSlice(0, len(chosen), len(chosen))
            yield [Item(clip, ALL_QUESTIONS, self._epoch, clip, batch_slice, True) for clip in chosen]


def item_rng(seed: int, item: Item, purpose: int) -> np.random.Generator:
    """Return the generator for one purpose and one item of one epoch; it is the same in every process."""
    return np.random.default_rng([seed, item.epoch, item.position, purpose])
