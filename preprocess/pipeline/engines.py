"""The engine that makes shards in processes on this machine; `ray_engine` uses a cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Protocol, TypeVar

from ...errors import StgcmaError
from ...shards.schema import QuarantineRecord, Sample, shard_name
from ...shards.writer import write_shard
from ..collections.specification import ClipSpecification
from ..media.isolation import IsolatedPool
from ..media.reasons import ClipError
from ..samples.sample import add_sums
from .options import Limits
from .shard_plan import ShardTask
from .shard_result import ShardResult

# Loaded in a decoding process before its first clip, so that the memory limit is for the clip alone.
IMPORTS = ("av", "numpy", "PIL.Image")

# Makes a clip's sample or raises ClipError; it is pickled for the decoding processes.
MakeSample = Callable[[ClipSpecification], Sample]

# Called for every clip: with None when it was made, else with the error.
OnClip = Callable[[ClipSpecification, "ClipError | None"], None]


Result = TypeVar("Result")


class Engine(Protocol):
    """Makes the shards of `tasks` in the folder or URL `folder`, yielding each as it is finished."""

    def __call__(
        self,
        tasks: Sequence[ShardTask],
        make: MakeSample,
        folder: str,
        *,
        workers: int,
        limits: Limits,
        on_clip: OnClip,
    ) -> Generator[ShardResult]:
        """Raise the first error of a shard; the other shards are then cancelled."""
        ...


def open_pool(limits: Limits) -> IsolatedPool:
    """Start the decoding process of one worker."""
    return IsolatedPool(
        1,
        timeout_seconds=limits.timeout_seconds,
        memory_bytes=limits.memory_bytes,
        tries=limits.tries,
        imports=IMPORTS,
    )


def make_shard(
    task: ShardTask, make: MakeSample, pool: IsolatedPool, folder: str, on_clip: OnClip
) -> ShardResult:
    """Make one shard in `folder`: decode the clips of `task` in `pool`, write those that can be made.

    An unexpected exception gets a note that names the clip.
    """
    quarantined: list[QuarantineRecord] = []
    sums: dict[str, tuple[float, float, int]] = {}
    at = task.clips[0].key

    def samples() -> Iterator[Sample]:
        nonlocal at
        outcomes = iter(pool.map(make, task.clips))
        for clip in task.clips:
            at = clip.key
            _, outcome = next(outcomes)
            if isinstance(outcome, ClipError):
                on_clip(clip, outcome)
                quarantined.append(QuarantineRecord(clip.key, clip.source, outcome.reason, outcome.message))
                continue
            on_clip(clip, None)
            add_sums(sums, outcome.fbank_sums)
            yield outcome

    try:
        written = write_shard(folder, task.split, task.index, samples())
    except StgcmaError:
        raise
    except Exception as error:
        error.add_note(f"This happened at clip {at} of {shard_name(task.split, task.index)}.")
        raise
    return ShardResult(task.split, task.index, tuple(written), tuple(quarantined), sums)


def run_local(
    tasks: Sequence[ShardTask],
    make: MakeSample,
    folder: str,
    *,
    workers: int,
    limits: Limits,
    on_clip: OnClip,
) -> Generator[ShardResult]:
    """Make the shards of `tasks` with `workers` decoding processes, and yield each when it is finished."""

    def work(task: ShardTask, pool: IsolatedPool) -> ShardResult:
        return make_shard(task, make, pool, folder, on_clip)

    yield from run_threads(tasks, work, workers=workers, limits=limits)


def run_threads(
    tasks: Sequence[ShardTask],
    work: Callable[[ShardTask, IsolatedPool], Result],
    *,
    workers: int,
    limits: Limits,
) -> Generator[Result]:
    """Do the `work` of each task with one of `workers` decoding processes; yield results when they are there.

    Raises the first error; the other tasks are then cancelled.
    """
    own = threading.local()
    # Here and not in the threads, so that a pool that cannot be opened is an error of this call.
    pools = [open_pool(limits) for _ in range(workers)]
    free = iter(pools)

    def enter() -> None:
        own.pool = next(free)

    # One thread for each decoding process: it waits, and writes the tar.
    threads = ThreadPoolExecutor(workers, thread_name_prefix="shard", initializer=enter)
    try:
        futures = [threads.submit(lambda task: work(task, own.pool), task) for task in tasks]
        for future in as_completed(futures):
            yield future.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for pool in pools:
            pool.close()
        threads.shutdown(wait=True)
