"""Where the shards are made: in processes on this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from ..shards.schema import QuarantineRecord, Sample
from ..shards.writer import write_shard
from .isolation import IsolatedPool
from .output import ShardResult
from .reasons import ClipError
from .sample import SampleMaker
from .specification import ClipSpecification

# Loaded before a decoding process takes its first clip: torch alone takes seconds.
IMPORTS = ("av", "numpy", "PIL.Image", "torch", "torchaudio.compliance.kaldi")

OnClip = Callable[[ClipSpecification, "Sample | ClipError"], None]


@dataclass(frozen=True)
class ShardTask:
    """The clips that belong in one shard. The unit of work: made whole or again."""

    split: str
    index: int
    clips: tuple[ClipSpecification, ...]


@dataclass(frozen=True)
class Limits:
    """What one clip may cost before it is given up.

    Attributes:
        timeout_seconds: wall time.
        memory_bytes: memory of the process that decodes it.
        tries: how often it is tried when its process dies.
    """

    timeout_seconds: float = 300.0
    memory_bytes: int = 4 << 30
    tries: int = 3


def make_shard(
    task: ShardTask, make: SampleMaker, pool: IsolatedPool, folder: Path, on_clip: OnClip
) -> ShardResult:
    """Makes one shard in `folder`: decodes the clips of `task` in `pool`, writes those that can be made."""
    quarantined: list[QuarantineRecord] = []
    sums: dict[str, tuple[float, float, int]] = {}

    def samples() -> Iterator[Sample]:
        for clip, outcome in pool.map(make, task.clips):
            on_clip(clip, outcome)
            if isinstance(outcome, ClipError):
                quarantined.append(QuarantineRecord(clip.key, clip.source, outcome.reason, outcome.message))
                continue
            for name, new in outcome.fbank_sums.items():
                old = sums.get(name, (0.0, 0.0, 0))
                sums[name] = (old[0] + new[0], old[1] + new[1], old[2] + new[2])
            yield outcome

    written = write_shard(folder, task.split, task.index, samples())
    return ShardResult(task.split, task.index, tuple(written), tuple(quarantined), sums)


def run_local(
    tasks: Sequence[ShardTask],
    make: SampleMaker,
    folder: Path,
    *,
    workers: int,
    limits: Limits,
    on_clip: OnClip,
) -> Iterator[ShardResult]:
    """Makes the shards of `tasks` with `workers` decoding processes, yielding each as it is finished."""
    own = threading.local()
    pools: list[IsolatedPool] = []

    def open_pool() -> None:
        own.pool = IsolatedPool(
            1,
            timeout_seconds=limits.timeout_seconds,
            memory_bytes=limits.memory_bytes,
            tries=limits.tries,
            imports=IMPORTS,
        )
        pools.append(own.pool)

    # A thread a decoding process: it waits, and writes the tar.
    threads = ThreadPoolExecutor(workers, thread_name_prefix="shard", initializer=open_pool)
    try:
        futures = [
            threads.submit(lambda task: make_shard(task, make, own.pool, folder, on_clip), task)
            for task in tasks
        ]
        for future in as_completed(futures):
            yield future.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for pool in pools:
            pool.close()
        threads.shutdown(wait=True)
