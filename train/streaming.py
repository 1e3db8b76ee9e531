"""`data.read=streamed`: shards read sequentially, each once per epoch, without a local copy.

The stream of a loader worker is a webdataset pipeline: a list of shards, split by process and by worker, read
clip by clip, then shuffled in a buffer. The order of the clips is planned in advance (`stream_plan`), so that
a run resumes in the middle of an epoch without reading the clips before.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import webdataset
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ..errors import StgcmaError
from ..shards.members import frame_name, member
from ..shards.reader import ClipReader
from .batch import Batch, Collate, UnreadableClip
from .data import ClipDataset
from .order import Item
from .stream_plan import ClipIndex, EpochPlan, StreamOrder
from .tokens import StoredTokens
from .workers import enter_worker, to_send

# Clips ahead from which the other clip of a mixture and negative frames are drawn.
NEIGHBOURS = 16
# Bytes per request of an object that is read sequentially.
_AHEAD_BYTES = 8 << 20

Members = dict[str, bytes]


class StreamedClips(ClipDataset):
    """The clips of one split, read in the order of a stream, with the members of the next clips."""

    _ahead_bytes = _AHEAD_BYTES

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._reader = ClipReader(self.location, ahead_bytes=_AHEAD_BYTES)
        self._ahead: dict[int, Members] = {}

    def look_ahead(self, clips: dict[int, Members]) -> None:
        """Set the clips that were read in advance: index to members."""
        self._ahead = clips

    def members(self, clip: int) -> Members:
        """Return the members of a clip, read in advance or now."""
        found = self._ahead.get(clip)
        return super().members(clip) if found is None else found

    def stream(self, clip: int) -> Members:
        """Read a clip from its shard; its hash is checked unless `data.verify` is off."""
        place = self.places[clip]
        members = self._reader.read(place, check=self.data.verify)
        return self._joined(members, place.key)

    def _frame(self, clip: int, number: int) -> bytes:
        return member(self.members(clip), frame_name(number))

    def _stored_frame(self, stored: StoredTokens, clip: int, number: int) -> Tensor:
        return stored.frame_of(self.members(clip), number)

    def _other(self, rng: Any, clip: int) -> int:
        """Draw one of the clips ahead other than `clip`; of the split when there is none."""
        others = sorted(self._ahead.keys() - {clip})
        return others[int(rng.integers(len(others)))] if others else super()._other(rng, clip)


class _ClipStream(IterableDataset[Any]):
    """The steps of an epoch, each a list of this process's micro-batches.

    `order` has the epoch and the first step. In a loader worker, the steps are that worker's.
    """

    def __init__(self, clips: StreamedClips, order: StreamOrder) -> None:
        self.clips, self.order = clips, order
        self._collate = Collate(clips.task)

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        worker = 0
        if info is not None:
            worker = self.order.plan.workers_from(self.order.first_step)[info.id]
            # webdataset's splitter reads these; torch's worker id would ignore the turns.
            os.environ["WORKER"], os.environ["NUM_WORKERS"] = str(worker), str(info.num_workers)
        try:
            for step in self._steps(worker):
                batches = [self._collate.collate([self.clips[item] for item in items]) for items in step]
                tensors = [
                    tensor for batch in batches if isinstance(batch, Batch) for tensor in batch.tensors
                ]
                yield batches if info is None else to_send(batches, tensors)
        except StgcmaError as error:  # an exception in a worker would arrive as a page of traceback
            yield [UnreadableClip(type(error), str(error))]
        finally:
            self.clips.look_ahead({})
            self.clips.close()

    def _steps(self, worker: int) -> Iterator[list[list[Item]]]:
        plan, streams = self.order.plan, self.order.streams
        steps = plan.steps_of(worker, first=self.order.first_step)
        clips = plan.clips_of(worker)
        if not steps or not clips:
            return
        order = self._emitted(plan, worker, len(clips))
        quota = int(streams.quota[streams.rank])
        at = min(steps[0][1] * quota, len(clips))
        ahead = _Ahead(self._read(plan, worker, clips, order, at), len(clips))
        for step, turn in steps:
            chosen = range(min(turn * quota, len(clips)), min((turn + 1) * quota, len(clips)))
            self.clips.look_ahead(ahead.around(chosen.start, chosen.stop))
            yield plan.items(step, [clips[order[n]] for n in chosen], clips[order[-1]])

    def _emitted(self, plan: EpochPlan, worker: int, count: int) -> list[int]:
        """Return the order in which the shuffle buffer yields `count` clips."""
        return list(self._shuffled(iter(range(count)), plan, worker))

    def _shuffled(self, source: Iterator[Any], plan: EpochPlan, worker: int) -> Iterator[Any]:
        if self.order.streams.seed is None:
            return source
        size = self.order.streams.buffer
        shuffled: Iterator[Any] = webdataset.shuffle(size, initial=size, rng=plan.rng(worker))(source)
        return shuffled

    def _read(
        self, plan: EpochPlan, worker: int, clips: Sequence[ClipIndex], order: Sequence[int], at: int
    ) -> Iterator[tuple[ClipIndex, Members | None]]:
        """Yield the clips in the order of the buffer; those before index `at` without members."""
        needed = min(at, max(len(clips) - NEIGHBOURS, 0))
        unused = set(order[:needed])

        def read(shards: Iterator[dict[str, str]]) -> Iterator[tuple[ClipIndex, Members | None]]:
            given = [shard["url"] for shard in shards]
            if given != plan.shards_of(self.order.streams.rank, worker):
                raise StgcmaError(
                    "webdataset assigns other shards than planned; unset RANK, WORLD_SIZE, WORKER and "
                    "NUM_WORKERS in the environment of a run without torchrun"
                )
            last: tuple[int, Members] = (-1, {})
            for number, clip in enumerate(clips):
                if number in unused:
                    yield clip, None
                    continue
                if clip.clip != last[0]:  # the questions of a clip are consecutive, and share one read
                    last = clip.clip, self.clips.stream(clip.clip)
                yield clip, last[1]

        pipeline = webdataset.DataPipeline(
            webdataset.SimpleShardList(plan.shards),
            webdataset.split_by_node,
            webdataset.split_by_worker,
            read,
            lambda source: self._shuffled(source, plan, worker),
        )
        return iter(pipeline)


class _Ahead:
    """A window of a stream: from the current clip to `NEIGHBOURS` further, or the last ones."""

    def __init__(self, source: Iterator[tuple[ClipIndex, Members | None]], count: int) -> None:
        self._source, self._count = source, count
        self._read: dict[int, tuple[ClipIndex, Members | None]] = {}
        self._next = 0

    def around(self, first: int, stop: int) -> dict[int, Members]:
        """Return the members of the clips `[first, stop)` of the stream and of those ahead, by clip index."""
        low = max(min(first, self._count - NEIGHBOURS), 0)
        while self._next < min(max(low + NEIGHBOURS, stop), self._count):
            self._read[self._next] = next(self._source)
            self._next += 1
        for index in [index for index in self._read if index < low]:
            del self._read[index]
        return {clip.clip: members for clip, members in self._read.values() if members is not None}


def make_stream(clips: StreamedClips, order: StreamOrder, *, workers: int) -> DataLoader[Any]:
    """Return a loader of the steps of the current epoch of `order`; iterate over it with `batches`.

    `workers` is the number that `order` was planned for: 0 with one stream.
    """
    return DataLoader(
        _ClipStream(clips, order),
        batch_size=None,
        num_workers=workers,
        collate_fn=_unchanged,
        worker_init_fn=enter_worker,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),
    )


def _unchanged(loaded: Any) -> Any:
    return loaded
