"""The engine that makes shards in processes on this machine; `ray_engine` uses a cluster."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol, TypeVar

from ...errors import StgcmaError
from ...shards.additions import Sums
from ...shards.fbank_sums import add_sums
from ...shards.schema import SHARD_FOLDER, ClipRecord, QuarantineRecord, Sample
from ...shards.storage import open_store
from ...shards.writer import made_extent, write_extents
from ..collections.specification import ClipSpecification
from ..media.isolation import IsolatedPool
from ..media.reasons import ClipError
from .options import Limits
from .shard_chunks import MadeClip, ShardChunks
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
    """Makes the shards of `tasks` of the directory `folder`, yielding each as it is finished."""

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
    """Make one shard of the directory `folder`: decode the clips of `task` in `pool`, write the made ones.

    Clips that are made already are not made again (`shard_chunks`); their chunks stay until the shard is
    recorded. An unexpected exception gets a note that names the clip.
    """
    store = open_store(folder)
    chunks = ShardChunks(store, task)
    quarantined: list[QuarantineRecord] = []
    sums: dict[str, Sums] = {}
    at = task.clips[0].key

    def extents() -> Iterator[tuple[ClipRecord, bytes]]:
        nonlocal at
        missing = [clip for position, clip in enumerate(task.clips) if position not in chunks]
        outcomes = iter(pool.map(make, missing))
        for position, clip in enumerate(task.clips):
            at = clip.key
            if position in chunks:
                made = chunks.get(position)
            else:
                made = _made(task, clip, next(outcomes)[1])
                chunks.add(position, made)
            if isinstance(made, QuarantineRecord):
                on_clip(clip, ClipError(made.reason, made.message))
                quarantined.append(made)
                continue
            on_clip(clip, None)
            add_sums(sums, made.sums)
            yield made.record, made.extent
        if task.former:
            chunks.flush()  # the file of the former clips is replaced before the shard is recorded

    try:
        written = write_extents(store.folder(SHARD_FOLDER).location, task.name, extents())
    except StgcmaError:
        raise
    except Exception as error:
        error.add_note(f"This happened at clip {at} of {task.name}.")
        raise
    return ShardResult(task.split, task.index, tuple(written), tuple(quarantined), sums)


def _made(
    task: ShardTask, clip: ClipSpecification, outcome: Sample | ClipError
) -> MadeClip | QuarantineRecord:
    if isinstance(outcome, ClipError):
        return QuarantineRecord(clip.key, clip.source, outcome.reason, outcome.message)
    record, extent = made_extent(outcome, task.split, task.name)
    return MadeClip(record, extent, outcome.fbank_sums)


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
        waiting = iter(tasks)
        running: set[Future[Result]] = set()
        while True:
            # Results of a million clips would not fit into memory, so few shards are submitted at once.
            for task in itertools.islice(waiting, 2 * workers - len(running)):
                running.add(threads.submit(lambda task: work(task, own.pool), task))
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for pool in pools:
            pool.close()
        threads.shutdown(wait=True)
