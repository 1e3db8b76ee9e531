"""The plan of a streamed epoch: the clips of each process, loader worker and step.

All of it follows from the manifest, the seed and the epoch, without reading a shard. So a run goes on in the
middle of an epoch, and every process knows how many clips the others have in a step.
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
from ..model.noise import Part
from .order import ALL_QUESTIONS, Item


class Clip(NamedTuple):
    """A clip's place in the manifest's rows of the split, and which of its questions is asked."""

    clip: int
    question: int


@dataclass(frozen=True)
class Streams:
    """The numbers by which an epoch is shared out.

    Attributes:
        batch_size: clips of a step, of all processes.
        rank, processes: this process among all.
        workers: streams of each process: its loader workers, or 1 where it loads by itself.
        parts: in how many parts each process works off its share of a step.
        buffer: clips among which each worker shuffles.
        seed: None for the manifest's order.
        padded: whether all processes have equally many steps, the last of some without a clip that counts.
    """

    batch_size: int
    rank: int = 0
    processes: int = 1
    workers: int = 1
    parts: int = 1
    buffer: int = 100
    seed: int | None = None
    padded: bool = True

    @property
    def quota(self) -> npt.NDArray[np.int64]:
        """Clips of each process in a whole step, `[processes]`."""
        return np.diff(self.batch_size * np.arange(self.processes + 1) // self.processes)


class EpochPlan:
    """One epoch: `steps` in number, the same for every process.

    Shards are shuffled, dealt out to the processes and then to their workers, as webdataset's `split_by_node`
    and `split_by_worker` do. The workers of a process take turns, a step each, until their clips are used up.
    A process that runs out before the others works on its last clip, which does not count.
    """

    def __init__(self, contents: dict[str, list[Clip]], streams: Streams, epoch: int) -> None:
        """`contents` are the clips of each shard, in the manifest's order."""
        self._contents, self._streams, self._epoch = contents, streams, epoch
        names = list(contents)
        if streams.seed is not None:
            order = np.random.default_rng([streams.seed, epoch]).permutation(len(names))
            names = [names[place] for place in order]
        self.shards = names
        turns = [self._turns(rank) for rank in range(streams.processes)]
        self.steps = max((len(counts) for _, _, counts in turns), default=0)
        self._counts = np.zeros((streams.processes, self.steps), dtype=np.int64)
        for rank, (_, _, counts) in enumerate(turns):
            self._counts[rank, : len(counts)] = counts
        worker, turn, _ = turns[streams.rank]
        missing = self.steps - len(worker) if streams.padded else 0
        # Stand-in steps come after all others: they are of the worker that has the last turn.
        last = (worker[-1], turn[-1]) if len(worker) else (0, -1)
        self._worker = np.concatenate([worker, np.full(missing, last[0])])
        self._turn = np.concatenate([turn, last[1] + 1 + np.arange(missing)])
        totals = self._counts.sum(0)
        self._starts = np.cumsum(totals) - totals

    def shards_of(self, rank: int, worker: int) -> list[str]:
        """The shards of one worker, in order."""
        own = islice(self.shards, rank, None, self._streams.processes)
        return list(islice(own, worker, None, self._streams.workers))

    def clips_of(self, worker: int) -> list[Clip]:
        """The clips of a worker of this process, in the order in which it reads them."""
        return [
            clip for shard in self.shards_of(self._streams.rank, worker) for clip in self._contents[shard]
        ]

    def rng(self, worker: int) -> random.Random:
        """The generator of a worker's shuffle buffer."""
        seed = [self._streams.seed or 0, self._epoch, self._streams.rank, worker]
        return random.Random(repr(seed))

    def workers_from(self, first: int) -> list[int]:
        """The workers of this process in the order of their turns from step `first` on, without turns last.

        A loader asks its workers one after the other, beginning with its first.
        """
        ahead = list(dict.fromkeys(self._worker[first:].tolist()))
        return [*ahead, *sorted(set(range(self._streams.workers)) - set(ahead))]

    def own_steps(self, worker: int, *, first: int) -> list[tuple[int, int]]:
        """(step, turn) of the steps of one worker of this process, from step `first` on.

        In its turn `t` a worker has the clips from `t` times its process's quota on.
        """
        chosen = np.flatnonzero(self._worker[first:] == worker) + first
        return [(int(step), int(self._turn[step])) for step in chosen]

    def items(self, step: int, clips: Sequence[Clip], stand_in: Clip) -> list[list[Item]]:
        """The parts of a step, of which `clips` are this process's. An empty part has the stand-in."""
        rank, parts = self._streams.rank, self._streams.parts
        total, before = int(self._counts[:, step].sum()), int(self._counts[:rank, step].sum())
        start = int(self._starts[step])
        bounds = np.arange(parts + 1) * len(clips) // parts

        def made(clip: Clip, place: int, part: Part, *, counted: bool) -> Item:
            return Item(clip.clip, clip.question, self._epoch, start + place, part, counted)

        found = []
        for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            if first == last:
                clip = clips[0] if clips else stand_in
                found.append([made(clip, before, Part(0, 1, total), counted=False)])
                continue
            part = Part(before + first, last - first, total)
            found.append([made(clips[n], before + n, part, counted=True) for n in range(first, last)])
        return found

    def _turns(self, rank: int) -> tuple[npt.NDArray[np.int64], ...]:
        """Of the steps of a process: whose turn it is, which of its turns, and how many clips it has."""
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
    """The order of all epochs of a streamed training, as the trainer asks for it."""

    def __init__(
        self, shards: Sequence[str], streams: Streams, *, questions: npt.NDArray[np.int64] | None = None
    ) -> None:
        """`shards` names each clip's; `questions` counts each clip's, and then every question is an item.

        Raises InputError when there are fewer shards than processes.
        """
        self.streams = streams
        contents: dict[str, list[Clip]] = {}
        for clip, shard in enumerate(shards):
            asked = [ALL_QUESTIONS] if questions is None else range(int(questions[clip]))
            contents.setdefault(shard, []).extend(Clip(clip, question) for question in asked)
        self.items = sum(map(len, contents.values()))
        if questions is not None:  # the buffer holds questions then, of as many clips
            per_clip = -(-self.items // max(len(shards), 1))
            self.streams = replace(streams, buffer=streams.buffer * per_clip)
        if streams.padded and len(contents) < streams.processes:
            raise InputError(
                f"data.read=streamed shares out whole shards: there are {len(contents)} for "
                f"{streams.processes} processes; use data.read=indexed, or fewer processes"
            )
        self._contents = contents
        self._until = [0]
        self.start_at(0)

    def start_at(self, epoch: int, batch: int = 0) -> None:
        """Chooses the epoch, counted from 0, that iteration goes over, and its first step."""
        self.plan, self.first_step = self._planned(epoch), batch

    def steps_until(self, epoch: int) -> int:
        """Steps of all epochs before `epoch`. Epochs differ when shards hold different numbers of clips."""
        while len(self._until) <= epoch:
            self._until.append(self._until[-1] + self._planned(len(self._until) - 1).steps)
        return self._until[epoch]

    def _planned(self, epoch: int) -> EpochPlan:
        return EpochPlan(self._contents, self.streams, epoch)
