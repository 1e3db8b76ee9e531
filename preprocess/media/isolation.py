"""Run work on hostile files in child processes that may hang, abort or use too much memory.

The processes are pebble's: the parent kills processes even when they hold the GIL, and replaces those that
died. Added here: deadlines on a clock that does not jump, a memory limit, death with the parent, retries,
results in order, and a separate error for a process that cannot start. `child_process` runs in the children,
`worker_pool` finds the tasks of those that died.
"""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotDoneError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.reduction import ForkingPickler
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ...errors import StgcmaError
from .child_process import OUT_OF_MEMORY_STATUS, Answer, attempt, enter_child
from .child_start import check_start
from .deadlines import TICK_SECONDS, Elapsed
from .reasons import ClipError

if TYPE_CHECKING:
    from pebble import ProcessPool

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_OUT_OF_MEMORY_TRIES = 2  # the second is in a fresh process, without memory of earlier clips
_IN_FLIGHT_PER_WORKER = 4
_MOST_UNREACHED = 20  # after as many failures the cause is not a clip
_STOPPED = "decoding was stopped"


class NotInstalledError(StgcmaError, ValueError):
    """A module that the children are to load is not installed."""


class IsolatedPool:
    """A pool of child processes for work that may kill them. Use it in `with`, from one thread.

    Args:
        workers: number of processes.
        timeout_seconds: a try that takes longer is killed and not repeated. Steps of the system's clock and
            time in which this machine or process was suspended do not count.
        memory_bytes: memory that a process may allocate in addition to what it has after `imports` (Linux:
            RLIMIT_DATA). The same limit holds for each program that it starts.
        tries: number of tries for an item that kills its process (at most two when it runs out of memory).
        imports: modules to load in every process before the limit is set; torch alone reserves 800 MB.
        script: whether every process first runs the parent's script, under another name than `__main__`, so
            that functions of the script can be called; the script must allow that.

    Raises:
        ValueError: for numbers that are not positive, or imports that are not installed.
    """

    def __init__(
        self,
        workers: int,
        *,
        timeout_seconds: float,
        memory_bytes: int,
        tries: int = 3,
        imports: Sequence[str] = (),
        script: bool = True,
    ) -> None:
        for name, value in (
            ("workers", workers),
            ("timeout_seconds", timeout_seconds),
            ("memory_bytes", memory_bytes),
            ("tries", tries),
        ):
            if value <= 0:
                raise ValueError(f"{name} is {value}, it must be positive")
        for name in imports:
            if importlib.util.find_spec(name.partition(".")[0]) is None:
                raise NotInstalledError(f"imports names {name!r}, which is not installed")
        self.workers = workers
        self.timeout_seconds = timeout_seconds
        self.memory_bytes = memory_bytes
        self.tries = tries
        self.imports = tuple(imports)
        self.script = script
        self._pool: ProcessPool | None = None
        self._closed = False
        self._pending: set[Future[Answer]] = set()
        self._elapsed: dict[Future[Answer], Elapsed] = {}
        self._late: set[Future[Answer]] = set()
        self._submitting = threading.Lock()

    def __enter__(self) -> IsolatedPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all child processes and the `map` that waits for them. Any thread may call it."""
        with self._submitting:
            self._closed = True
        self._stop()
        # Pebble leaves the futures of a stopped pool pending: waiting for one would never end.
        for future in tuple(self._pending):
            future.cancel()

    def _stop(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()  # type: ignore[no-untyped-call]
            pool.join()

    def map(
        self, function: Callable[[Item], Outcome], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Outcome | ClipError]]:
        """Yield `(item, function(item))` in the order of `items`, or `(item, ClipError)` where it failed.

        `function` must be importable; `items` and results are pickled; `items` are read as they are needed.
        An unexpected exception becomes a `ClipError` 'crashed'.

        Raises:
            StgcmaError: raised by `function`, since it concerns the request and not one clip; or when a
                process cannot start.
        """
        waiting: deque[_Task[Item]] = deque()
        source = iter(items)
        try:
            while True:
                while len(waiting) < self.workers * _IN_FLIGHT_PER_WORKER:
                    try:
                        item = next(source)
                    except StopIteration:
                        break
                    waiting.append(_Task(item, *self._submit(function, item)))
                if not waiting:
                    return
                yield waiting[0].item, self._outcome(function, waiting[0])
                waiting.popleft()
        finally:
            for task in waiting:
                task.future.cancel()

    def _submit(self, function: Callable[[Item], Outcome], item: Item) -> tuple[Future[Answer], ProcessPool]:
        from .worker_pool import WorkerPool

        # As bytes: an object that a child cannot load would end it before it reports its task.
        payload = bytes(ForkingPickler.dumps((function, item)))
        with self._submitting:
            if self._closed:
                raise StgcmaError(_STOPPED)
            if self._pool is not None and not self._pool.active:
                self._stop()  # its pipes broke; start over
            if self._pool is None:
                self._pool = WorkerPool(
                    max_workers=self.workers,
                    initializer=enter_child,
                    initargs=(self.memory_bytes, self.imports),
                    context=multiprocessing.get_context("spawn") if self.script else _ScriptlessContext(),
                )
            pool = self._pool
            answer: Future[Answer] = pool.schedule(attempt, args=(payload,))
            self._pending.add(answer)
        answer.add_done_callback(self._forget)
        return answer, pool

    def _forget(self, answer: Future[Answer]) -> None:
        self._pending.discard(answer)
        self._elapsed.pop(answer, None)

    def _wait(self, task: _Task[Item]) -> Answer:
        """Wait for a task, and meanwhile cancel all tasks beyond their deadline.

        Raises CancelledError for a cancelled task, and pebble's errors for one without an answer.
        """
        while True:
            try:
                return task.future.result(timeout=TICK_SECONDS)
            except NotDoneError:
                self._end_late()
            if task.pool is not self._pool or not task.pool.active:
                if task.future.done():
                    continue
                if self._closed:
                    raise CancelledError
                raise BrokenProcessPool("its pool is gone")

    def _end_late(self) -> None:
        for answer in tuple(self._pending):
            if not answer.running():
                continue
            if self._elapsed.setdefault(answer, Elapsed()).tick() > self.timeout_seconds:
                self._late.add(answer)
                if not answer.cancel():  # it ended just now
                    self._late.discard(answer)

    def _outcome(self, function: Callable[[Item], Outcome], task: _Task[Item]) -> Outcome | ClipError:
        from pebble import ProcessExpired

        number, unreached = 1, 0
        while True:
            try:
                answer = self._wait(task)
            except CancelledError:
                if task.future not in self._late:
                    raise StgcmaError(_STOPPED) from None
                self._late.discard(task.future)
                return ClipError("timeout", f"not done after {self.timeout_seconds:g} s")
            except ProcessExpired as error:
                failure = _death(error.exitcode, number)
                most = _OUT_OF_MEMORY_TRIES if failure.reason == "out-of-memory" else self.tries
                if number >= min(most, self.tries):
                    return failure
                number += 1
            except BrokenProcessPool as error:
                # The item that broke the pool is not known, nor does it happen each time: it is not counted.
                unreached += 1
                if unreached == 1:
                    check_start(self.memory_bytes, self.imports, script=self.script)
                if unreached > _MOST_UNREACHED:
                    return ClipError("crashed", f"its process could not be reached: {error}")
            else:
                if isinstance(answer.error, StgcmaError):
                    raise answer.error
                result: Outcome | ClipError = answer.error or answer.result
                return result
            task.future, task.pool = self._submit(function, task.item)


@dataclass
class _Task(Generic[Item]):
    item: Item
    future: Future[Answer]
    pool: ProcessPool


def _death(status: int, number: int) -> ClipError:
    if status == OUT_OF_MEMORY_STATUS:
        return ClipError("out-of-memory", f"needed more memory than it may have, {number} times")
    how = f"ended with status {status}"
    if status < 0:
        with contextlib.suppress(ValueError):  # a real-time signal has no name
            how = f"was ended by {signal.Signals(-status).name}"
    return ClipError("crashed", f"its process {how}, {number} times")


class _ScriptlessProcess(SpawnProcess):
    """A process that does not run the parent's script.

    A script that does not check `__name__` would start itself again and again.
    """

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 (multiprocessing's name)
        with _without_script:
            script = sys.modules["__main__"]
            sys.modules["__main__"] = ModuleType("__main__")
            try:
                return SpawnProcess._Popen(process_obj)
            finally:
                sys.modules["__main__"] = script


_without_script = threading.Lock()


class _ScriptlessContext(SpawnContext):
    Process = _ScriptlessProcess
