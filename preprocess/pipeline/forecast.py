"""Forecast of a preprocessing run from a sample of its clips; nothing is written."""

from __future__ import annotations

import os
import resource
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...errors import InputError, StgcmaError
from ...shards.manifest import read_columns, read_dataset, read_quarantine
from ...shards.schema import DATASET_FILE
from ...shards.storage import Location, Store, open_store
from ...shards.writer import clip_bytes
from ..collections.specification import ClipSpecification, Collection, FeatureSettings
from ..media.reasons import ClipError
from .engines import MakeSample, open_pool
from .locking import KernelLock
from .options import Options
from .output import OutputFolder
from .shard_plan import ShardTask, default_clips_per_shard, plan_shards

SAMPLED_CLIPS = 8


@dataclass(frozen=True)
class Forecast:
    """Expected size and cost of a run.

    Attributes:
        clips, shards: numbers planned, in all.
        seconds: of media, in all; None when no clip of the sample could be made, as all that follows from it.
        bytes: of the shards, in all.
        finished_shards, finished_clips: those that OUT has; quarantined clips are finished.
        clips_left: clips that OUT lacks.
        cpu_hours, hours: for these clips; `hours` with `workers` processes.
        workers: number of decoding processes, at most one for each core of this machine.
        sampled: number of clips that were decoded.
        failures: number of clips of the sample that could not be made, by reason.
        messages: of these clips, one each.
    """

    clips: int
    shards: int
    seconds: float | None
    bytes: int | None
    finished_shards: int
    finished_clips: int
    clips_left: int
    cpu_hours: float | None
    hours: float | None
    workers: int
    sampled: int
    failures: dict[str, int]
    messages: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the forecast as JSON values."""
        return asdict(self) | {"messages": list(self.messages)}


@dataclass(frozen=True)
class _Cost:
    """Cost of one clip."""

    media_seconds: float
    bytes: int
    cpu_seconds: float
    seconds: float


@dataclass(frozen=True)
class _Measured:
    """Maker of samples that returns what a clip costs; picklable."""

    make: MakeSample

    def __call__(self, clip: ClipSpecification) -> _Cost:
        before, began = _cpu_seconds(), time.monotonic()
        sample = self.make(clip)
        size = len(clip_bytes(sample, clip.split, f"{clip.split}-000000.tar"))
        return _Cost(sample.seconds, size, _cpu_seconds() - before, time.monotonic() - began)


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def forecast(
    collection: Collection, make: MakeSample, out: Location, options: Options, *, sampled: int = SAMPLED_CLIPS
) -> Forecast:
    """Decode some clips, spread evenly over the list, and return what the whole run is expected to cost.

    The clips are decoded in a separate process with the limits of the run. Raises InputError for a collection
    without clips.
    """
    if not collection.clips:
        raise InputError(f"{collection.name} holds no clips")
    tasks = plan_shards(collection.clips, _clips_per_shard(out, collection, options))
    shards, clips = _finished(out, tasks, overwrite=options.overwrite)
    costs, failed = _decode(_spread(collection.clips, sampled), make, options)
    count, left = len(collection.clips), len(collection.clips) - clips
    workers = options.workers
    if options.engine == "local":
        workers = min(workers, os.cpu_count() or workers)
    made = count * len(costs) / (len(costs) + len(failed))  # failed clips take no space
    cpu = _mean([cost.cpu_seconds for cost in costs], left / 3600)
    wall = _mean([max(cost.cpu_seconds, cost.seconds) for cost in costs], left / 3600 / workers)
    size = _mean([cost.bytes for cost in costs], made)
    return Forecast(
        clips=count,
        shards=len(tasks),
        seconds=_mean([cost.media_seconds for cost in costs], made),
        bytes=None if size is None else round(size),
        finished_shards=shards,
        finished_clips=clips,
        clips_left=left,
        cpu_hours=cpu,
        hours=wall,
        workers=workers,
        sampled=len(costs) + len(failed),
        failures=dict(Counter(error.reason for error in failed)),
        messages=tuple(error.message for error in failed),
    )


def _mean(values: Sequence[float], times: float) -> float | None:
    """Return the mean of `values`, times a factor; None without values."""
    return times * sum(values) / len(values) if values else None


def _spread(clips: Sequence[ClipSpecification], count: int) -> list[ClipSpecification]:
    """Return `count` clips, each from the middle of an equal part of the list."""
    count = min(count, len(clips))
    return [clips[(2 * place + 1) * len(clips) // (2 * count)] for place in range(count)]


def _decode(
    clips: Sequence[ClipSpecification], make: MakeSample, options: Options
) -> tuple[list[_Cost], list[ClipError]]:
    pool = open_pool(options.limits)
    try:
        # The first clip is decoded twice: the first time, the process loads its modules.
        outcomes = [outcome for _, outcome in pool.map(_Measured(make), [clips[0], *clips])][1:]
    finally:
        pool.close()
    costs = [outcome for outcome in outcomes if isinstance(outcome, _Cost)]
    return costs, [outcome for outcome in outcomes if isinstance(outcome, ClipError)]


def _clips_per_shard(out: Location, collection: Collection, options: Options) -> int:
    if open_store(out).exists(DATASET_FILE) and not options.overwrite:
        return read_dataset(out).all_additions[0].clips_per_shard
    features = FeatureSettings(collection.sampling, options.features).to_json()
    return options.clips_per_shard or default_clips_per_shard(len(collection.clips), features)


def _finished(out: Location, tasks: Sequence[ShardTask], *, overwrite: bool) -> tuple[int, int]:
    """Return the numbers of shards and of clips that `out` has, those of the plan alone."""
    store = open_store(out)
    if overwrite or not _is_there(store):
        return 0, 0
    if store.exists(DATASET_FILE):
        (keys, shards) = read_columns(out, ("key", "shard"))
        there = {*keys, *(record.key for record in read_quarantine(out))}
        return len(set(shards)), sum(clip.key in there for task in tasks for clip in task.clips)
    done = OutputFolder(store, KernelLock()).finished()
    made = [task for task in tasks if (task.split, task.index) in done]
    return len(made), sum(len(task.clips) for task in made)


def _is_there(store: Store) -> bool:
    try:
        return bool(store.names())
    except StgcmaError:
        return False
