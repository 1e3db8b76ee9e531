"""Forecast of a preprocessing run from a sample of its clips; nothing is written."""

from __future__ import annotations

import dataclasses
import resource
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...cores import usable_cores
from ...errors import InputError
from ...shards.locking import KernelLock
from ...shards.manifest import read_columns, read_quarantine
from ...shards.storage import Location, open_store
from ...shards.writer import clip_bytes
from ..collections.specification import ClipSpecification, Collection
from ..media.reasons import ClipError
from .amendment import amendment_of
from .build import planned_layout
from .engines import MakeSample, open_pool
from .finished import wrong_sizes
from .former import Former, FormerShards
from .layout import Layout
from .options import Options
from .output import OutputFolder, checked_store
from .plan import make_plan

SAMPLED_CLIPS = 8


@dataclass(frozen=True)
class Forecast:
    """Expected size and cost of a run.

    Attributes:
        clips, shards: numbers planned, in all.
        seconds: of media, in all; None when no clip of the sample could be made, as all that follows from it.
        bytes: of the shards, in all.
        finished_shards, finished_clips: those that OUT has; quarantined clips are finished, unless they are
            tried again.
        clips_left: clips that OUT lacks.
        cpu_hours, hours: for these clips; `hours` with `workers` processes.
        workers: number of decoding processes, at most one for each core that this process may use.
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
class _Failure:
    """A clip that could not be made, and its cost; zeros where its process ended."""

    reason: str
    message: str
    cpu_seconds: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class _Measured:
    """Maker of samples that returns what a clip costs; picklable."""

    make: MakeSample

    def __call__(self, clip: ClipSpecification) -> _Cost | _Failure:
        before, began = _cpu_seconds(), time.monotonic()
        try:
            sample = self.make(clip)
        except ClipError as error:
            cost = _cpu_seconds() - before, time.monotonic() - began
            return _Failure(error.reason, error.message, *cost)
        size = len(clip_bytes(sample, clip.split, f"{clip.split}-000000.tar"))
        return _Cost(sample.seconds, size, _cpu_seconds() - before, time.monotonic() - began)


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def forecast(
    collection: Collection,
    make: MakeSample,
    features: dict[str, Any],
    out: Location,
    options: Options,
    *,
    sampled: int = SAMPLED_CLIPS,
) -> Forecast:
    """Decode some clips, spread evenly over the list, and return what the whole run is expected to cost.

    The clips are decoded in a separate process with the limits of the run; see `build` for the arguments.
    Shards that are missing or cut count as not made; hashes are not compared.

    Raises InputError for a collection without clips, and for one that does not fit the content of `out`.
    """
    if not collection.clips:
        raise InputError(f"{collection.name} holds no clips")
    output = OutputFolder(checked_store(out), KernelLock())
    former, layout = _layout(output, collection, features, options)
    shards, clips = _finished(output, former, layout, options)
    costs, failed = _decode(_spread(collection.clips, sampled), make, options)
    count = len(layout.planned) or len(collection.clips)
    left = count - clips
    workers = options.workers
    if options.engine == "local":
        workers = min(workers, usable_cores())
    made = count * len(costs) / (len(costs) + len(failed))  # failed clips take no space
    cpu = wall = None
    if costs:
        every: list[_Cost | _Failure] = [*costs, *failed]
        cpu = _mean([cost.cpu_seconds for cost in every], left / 3600)
        wall = _mean([max(cost.cpu_seconds, cost.seconds) for cost in every], left / 3600 / workers)
    size = _mean([cost.bytes for cost in costs], made)
    return Forecast(
        clips=count,
        shards=sum(each.count for addition in layout.additions for each in addition.shards.values()),
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
) -> tuple[list[_Cost], list[_Failure]]:
    pool = open_pool(options.limits)
    try:
        # The first clip is decoded twice: the first time, the process loads its modules.
        outcomes = [outcome for _, outcome in pool.map(_Measured(make), [clips[0], *clips])][1:]
    finally:
        pool.close()
    costs, failed = [], []
    for outcome in outcomes:
        if isinstance(outcome, _Cost):
            costs.append(outcome)
        elif isinstance(outcome, ClipError):  # its process ended
            failed.append(_Failure(outcome.reason, outcome.message))
        else:
            failed.append(outcome)
    return costs, failed


def _layout(
    output: OutputFolder, collection: Collection, features: dict[str, Any], options: Options
) -> tuple[Former | None, Layout]:
    """Return the finished content of the directory, if any, and the layout that the run makes."""
    if not open_store(output.location).names():
        options = dataclasses.replace(options, overwrite=True, append=False)
    former = None if options.overwrite else output.former()
    layout = planned_layout(output, former, collection, features, options, options.clips_per_shard)
    if not (options.overwrite or layout.finished):  # else it was checked with the former content
        output.check_fits(make_plan(layout.info))
    return former, layout


def _finished(
    output: OutputFolder, former: Former | None, layout: Layout, options: Options
) -> tuple[int, int]:
    """Return the numbers of shards and of clips of `layout` that the directory has."""
    retry, store = options.retry_quarantined, open_store(output.location)
    if options.overwrite or not store.names():
        return 0, 0
    shards, clips = 0, 0
    again: frozenset[str] = frozenset()
    if former is not None and layout.finished:
        work = former.shards() if former.begun else FormerShards()
        again = work.again
        kept = amendment_of(former, work).kept
        cut = wrong_sizes(store, ((row.shard, row.bytes) for result in kept for row in result.written))
        whole = Counter(row.shard for result in kept for row in result.written if row.shard not in cut)
        shards = len(whole)
        clips = whole.total() + (0 if retry else sum(len(result.quarantined) for result in kept))
    elif output.is_complete():
        keys, names, sizes = read_columns(output.location, ("key", "shard", "bytes"))
        cut = wrong_sizes(store, zip(names, sizes, strict=True))
        failed = [] if retry else read_quarantine(output.location)
        there = {*keys, *(record.key for record in failed)}
        tasks = [task for task in layout.tasks[0] or () if task.name not in cut]
        return len(set(names) - cut.keys()), sum(clip.key in there for task in tasks for clip in task.clips)
    new = [task for tasks in layout.tasks[layout.finished :] for task in tasks or ()]
    old = [task for tasks in layout.tasks[: layout.finished] for task in tasks or () if task.name in again]
    done = output.finished() if former is None or former.begun else {}
    made = [task for task in (*old, *new) if (task.split, task.index) in done]
    clips += sum(len(task.clips) for task in made)
    if retry:
        clips -= sum(len(done[task.split, task.index].quarantined) for task in made)
    return shards + len(made), clips
