"""Checks of the shards of a directory, one after the other or in several processes."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import NamedTuple

from ..errors import InputError, StgcmaError
from .clip_checks import Checked, Shapes, clip_faults, first_key
from .schema import MANIFEST_FILE, ClipRecord
from .storage import Store, open_store
from .table_checks import Fault
from .writer import end_of_archive

OnBytes = Callable[[int], None]

# Checking fewer bytes takes less than the start of a process.
LEAST_BYTES_A_WORKER = 32 << 20


class ShardTask(NamedTuple):
    """A shard that exists: its name in the directory, the manifest's rows, and its size."""

    name: str
    records: Sequence[ClipRecord]
    size: int


class _OwnersNeededError(Exception):
    """The bytes of another clip are in the place of one."""


@dataclass
class ShardChecks:
    """Checks the shards of one directory.

    Attributes:
        store: of the directory.
        shapes: required content of its clips; None to check tar structure and descriptions alone.
        owners: key to the shard of its clip; None where that is not known: `_OwnersNeededError` then says
            that it decides.
    """

    store: Store
    shapes: Shapes | None
    owners: Mapping[str, str] | None

    def __post_init__(self) -> None:
        self._checked = Checked()

    @contextlib.contextmanager
    def results(
        self, tasks: Iterable[ShardTask], workers: int, on_bytes: OnBytes
    ) -> Iterator[Iterator[Sequence[Fault]]]:
        """Yield an iterator over the faults of each task, in the order of the tasks.

        Several processes are used where there are bytes enough. They end with the context, and with this
        process.
        """
        tasks = list(tasks)
        workers = min(workers, len(tasks), sum(task.size for task in tasks) // LEAST_BYTES_A_WORKER)
        if workers < 2 or self.store.location.startswith("memory:"):
            yield (list(self.faults(task, on_bytes)) for task in tasks)
            return
        context = multiprocessing.get_context("spawn")  # this process has threads
        receiver, sender = context.Pipe(duplex=False)
        executor = ProcessPoolExecutor(
            workers,
            mp_context=context,
            initializer=_start,
            initargs=(receiver, self.store.location, self.shapes),
        )
        try:
            yield self._of_processes(executor, tasks, workers, on_bytes)
        finally:
            sender.close()  # ends the processes, what they do is not needed any more
            executor.shutdown(cancel_futures=True)
            receiver.close()

    def _of_processes(
        self, executor: ProcessPoolExecutor, tasks: Sequence[ShardTask], workers: int, on_bytes: OnBytes
    ) -> Iterator[Sequence[Fault]]:
        waiting: deque[tuple[ShardTask, Future[tuple[list[Fault], int] | None]]] = deque()
        remaining = iter(tasks)
        try:
            while True:
                # The rows of all shards would be copied at once.
                while len(waiting) < 2 * workers and (task := next(remaining, None)) is not None:
                    waiting.append((task, executor.submit(_check, task)))
                if not waiting:
                    return
                task, future = waiting.popleft()
                result = future.result()
                if result is None:
                    yield list(self.faults(task, on_bytes))
                    continue
                faults, size = result
                on_bytes(size)
                yield faults
        except BrokenProcessPool:
            raise StgcmaError(
                "a process that verifies shards died; there may be too little memory for so many workers"
            ) from None

    def faults(self, task: ShardTask, on_bytes: OnBytes) -> Iterator[Fault]:
        """Yield the faults of a shard."""
        name, records, size = task
        end = sum(record.bytes for record in records)
        closing = end_of_archive(end)
        if size != end + len(closing):
            yield Fault(name, f"is {size} bytes long, {end + len(closing)} were written")
        try:
            opened = self.store.open(name)
        except InputError as error:
            yield Fault(name, f"cannot be read: {error}")
            return
        with opened as stream:
            for record in records:
                extent = stream.read(record.bytes)
                on_bytes(len(extent))
                if len(extent) < record.bytes:
                    yield Fault(name, f"is cut: it ends within {record.key}")
                    return
                if hashlib.sha256(extent).hexdigest() != record.sha256:
                    if (other := self._other_shard(extent, record)) is not None:
                        yield Fault(name, f"holds {first_key(extent)}, which belongs in {other}")
                        return
                    yield Fault(name, f"{record.key} is damaged, its hash is not the one in {MANIFEST_FILE}")
                    continue
                for what in clip_faults(extent, record, self.shapes, self._checked):
                    yield Fault(name, f"{record.key} {what}")
            rest = stream.read(len(closing) + 1)  # no more, whatever follows
            on_bytes(max(size - end, 0))
        if rest != closing:
            yield Fault(
                name, "its end is damaged: zeros up to a whole record are expected after the last clip"
            )

    def _other_shard(self, extent: bytes, record: ClipRecord) -> str | None:
        """Return the shard in which the clip in `extent` belongs, if that is another one."""
        key = first_key(extent)
        if self.owners is None:
            if key != record.key:
                raise _OwnersNeededError
            return None
        owner = self.owners.get(key, record.shard)
        return None if owner == record.shard else owner


def shard_faults(store: Store, name: str, records: Sequence[ClipRecord]) -> Iterator[Fault]:
    """Yield the faults of the shard `name`, of which `records` are the manifest's rows."""
    size = store.size_bytes(name)
    if size is None:
        yield Fault(name, f"is missing, {MANIFEST_FILE} names it")
    else:
        yield from ShardChecks(store, None, {}).faults(ShardTask(name, records, size), lambda _: None)


# Of a process that `ShardChecks.results` starts.
_checks: list[ShardChecks] = []


def _start(receiver: Connection, location: str, shapes: Shapes | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    threading.Thread(target=_end_with_parent, args=(receiver,), daemon=True).start()
    _checks.append(ShardChecks(open_store(location), shapes, None))


def _end_with_parent(receiver: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        receiver.recv()
    os._exit(1)


def _check(task: ShardTask) -> tuple[list[Fault], int] | None:
    """Return the faults of a shard, and the number of bytes read; None when the owners decide."""
    sizes: list[int] = []
    try:
        return list(_checks[0].faults(task, sizes.append)), sum(sizes)
    except _OwnersNeededError:
        return None
