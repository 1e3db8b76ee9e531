"""The plan of a streamed epoch: the clips of each process, loader worker and step.

The plan follows from the manifest, the seed and the epoch, without reading a shard. So a run resumes in the
middle of an epoch, and every process knows the number of clips of the others in a step.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..model.noise import BatchSlice
from .order import ALL_QUESTIONS, Item


class ClipIndex(NamedTuple):
    """The index of a clip among the manifest's rows of the split, and of its question, as in `Item`."""

    clip: int
    question: int


@dataclass(frozen=True)
class Streams:
    """The division of an epoch over processes and loader workers.

    Attributes:
        batch_size: clips of a step, over all processes.
        rank: of this process.
        processes: number of processes.
        workers: streams of each process: its loader workers, or 1 when it loads by itself.
        micro_batches: of each process in a step.
        buffer: clips among which each worker shuffles.
        seed: None for the manifest's order.
        padded: give all processes equally many steps, the last ones of some with a padding clip only.
    """

    batch_size: int
    rank: int = 0
    processes: int = 1
    workers: int = 1
    micro_batches: int = 1
    buffer: int = 100
    seed: int | None = None
    padded: bool = True

    @property
    def quota(self) -> npt.NDArray[np.int64]:
        """Clips of each process in a whole step, `[processes]`."""
        return np.diff(self.batch_size * np.arange(self.processes + 1) // self.processes)


class EpochPlan:
    """One epoch of `steps` steps, the same number for every process.

    Shards are shuffled and distributed to the processes and then to their workers, as webdataset's
    `split_by_node` and `split_by_worker` do. The workers of a process take turns, one step each, until their
    clips are used up. A process that runs out before the others repeats its last clip as padding.
    """

    def __init__(self, contents: dict[str, list[ClipIndex]], streams: Streams, epoch: int) -> None:
        """`contents` are the clips of each shard, in the manifest's order."""
        self._contents, self._streams, self._epoch = contents, streams, epoch
        names = list(contents)
        if streams.seed is not None:
            order = np.random.default_rng([streams.seed, epoch]).permutation(len(names))
            names = [names[index] for index in order]
        self.shards = names
        turns = [self._turns(rank) for rank in range(streams.processes)]
        self.steps = max((len(counts) for _, _, counts in turns), default=0)
        self._counts = np.zeros((streams.processes, self.steps), dtype=np.int64)
        for rank, (_, _, counts) in enumerate(turns):
            self._counts[rank, : len(counts)] = counts
        worker, turn, _ = turns[streams.rank]
        missing = self.steps - len(worker) if streams.padded else 0
        # Padding steps come after all others, from the worker with the last turn.
        last = (worker[-1], turn[-1]) if len(worker) else (0, -1)
        self._worker = np.concatenate([worker, np.full(missing, last[0])])
        self._turn = np.concatenate([turn, last[1] + 1 + np.arange(missing)])
        totals = self._counts.sum(0)
        self._starts = np.cumsum(totals) - totals

    def shards_of(self, rank: int, worker: int) -> list[str]:
        """Return the shards of one worker, in order."""
        of_rank = islice(self.shards, rank, None, self._streams.processes)
        return list(islice(of_rank, worker, None, self._streams.workers))

    def clips_of(self, worker: int) -> list[ClipIndex]:
        """Return the clips of a worker of this process, in the order in which it reads them."""
        return [
            clip for shard in self.shards_of(self._streams.rank, worker) for clip in self._contents[shard]
        ]

    def rng(self, worker: int) -> random.Random:
        """Return the generator of a worker's shuffle buffer."""
        seed = [self._streams.seed or 0, self._epoch, self._streams.rank, worker]
        return random.Random(repr(seed))

    def workers_from(self, first: int) -> list[int]:
        """Return the workers of this process in the order of their turns from step `first` on.

        Workers without a turn come last. A loader asks its workers one after the other, from its first on.
        """
        ahead = list(dict.fromkeys(self._worker[first:].tolist()))
        return [*ahead, *sorted(set(range(self._streams.workers)) - set(ahead))]

    def steps_of(self, worker: int, *, first: int) -> list[tuple[int, int]]:
        """Return (step, turn) of the steps of one worker of this process, from step `first` on.

        In its turn `t`, a worker has the clips from `t` times its process's quota on.
        """
        chosen = np.flatnonzero(self._worker[first:] == worker) + first
        return [(int(step), int(self._turn[step])) for step in chosen]

    def items(self, step: int, clips: Sequence[ClipIndex], padding: ClipIndex) -> list[list[Item]]:
        """Return the micro-batches of this process in a step, whose clips are `clips`.

        An empty micro-batch gets one of its clips, or `padding`, as a padding clip.
        """
        rank, count = self._streams.rank, self._streams.micro_batches
        total, before = int(self._counts[:, step].sum()), int(self._counts[:rank, step].sum())
        start = int(self._starts[step])
        bounds = np.arange(count + 1) * len(clips) // count

        def item(clip: ClipIndex, number: int, batch_slice: BatchSlice, *, counted: bool) -> Item:
            return Item(clip.clip, clip.question, self._epoch, start + number, batch_slice, counted)

        micro_batches = []
        for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            if first == last:
                clip = clips[0] if clips else padding
                micro_batches.append([item(clip, before, BatchSlice(0, 1, total), counted=False)])
                continue
            chosen = BatchSlice(before + first, last - first, total)
            micro_batches.append(
                [item(clips[n], before + n, chosen, counted=True) for n in range(first, last)]
            )
        return micro_batches

    def _turns(self, rank: int) -> tuple[npt.NDArray[np.int64], ...]:
        """Return the worker, its turn and the number of clips of each step of a process, each `[steps]`."""
        quota = int(self._streams.quota[rank])
        sizes = np.array(
            [
                sum(len(self._contents[shard]) for shard in self.shards_of(rank, worker))
                for worker in range(self._streams.workers)
            ],
            dtype=np.int64,
        )
        turns = -(-sizes // quota)
        worker = np.repeat(np.arange(len(sizes)), turns)
        turn = np.arange(len(worker)) - np.repeat(np.cumsum(turns) - turns, turns)
        order = np.lexsort((worker, turn))
        worker, turn = worker[order], turn[order]
        return worker, turn, np.minimum(sizes[worker] - turn * quota, quota)


class StreamOrder:
    """The order of all epochs of a streamed training; the counterpart of `EpochOrder`."""

    def __init__(
        self, shards: Sequence[str], streams: Streams, *, questions: npt.NDArray[np.int64] | None = None
    ) -> None:
        """`shards` names the shard of every clip. With `questions`, the number of questions of every clip,
        every question is an item; without, every clip is.

        Raises InputError when there are fewer shards than processes.
        """
        self.streams = streams
        contents: dict[str, list[ClipIndex]] = {}
        for clip, shard in enumerate(shards):
            asked = [ALL_QUESTIONS] if questions is None else range(int(questions[clip]))
            contents.setdefault(shard, []).extend(ClipIndex(clip, question) for question in asked)
        self.items = sum(map(len, contents.values()))
        if questions is not None:  # the buffer then holds questions, of as many clips
            per_clip = -(-self.items // max(len(shards), 1))
            self.streams = replace(streams, buffer=streams.buffer * per_clip)
        if streams.padded and len(contents) < streams.processes:
            raise InputError(
                f"data.read=streamed gives whole shards to processes: there are {len(contents)} for "
                f"{streams.processes} processes; use data.read=indexed, or fewer processes"
            )
        self._contents = contents
        self._until = [0]
        self.start_at(0)

    def start_at(self, epoch: int, step: int = 0) -> None:
        """Set the epoch, counted from 0, that iteration yields, and the first step in it."""
        self.plan, self.first_step = self._plan_of(epoch), step

    def steps_until(self, epoch: int) -> int:
        """Return the steps of all epochs before `epoch`; epochs differ when shards have different sizes."""
        while len(self._until) <= epoch:
            self._until.append(self._until[-1] + self._plan_of(len(self._until) - 1).steps)
        return self._until[epoch]

    def _plan_of(self, epoch: int) -> EpochPlan:
        return EpochPlan(self._contents, self.streams, epoch)
