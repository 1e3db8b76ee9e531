"""Runs work on hostile files in child processes that may hang, abort or eat memory.

The processes are pebble's: the parent kills those that it gives up, even when they hold the GIL, and
replaces those that died. Added here: deadlines on a clock that does not jump, a memory cap, death with the
parent, retries, results in order, and an error of its own for a process that cannot start.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import importlib.util
import multiprocessing
import os
import re
import resource
import select
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotDoneError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ...errors import StgcmaError
from .child_start import cannot_start, check_start
from .deadlines import TICK_SECONDS, Elapsed
from .reasons import ClipError

if TYPE_CHECKING:
    from pebble import ProcessPool

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_OUT_OF_MEMORY_STATUS = 77  # of a child that ran out of memory and ended itself; no signal, no shell's code
_OUT_OF_MEMORY_TRIES = 2  # the second is in a fresh process, which no earlier clip has left full
_IN_FLIGHT_PER_WORKER = 4
_MOST_UNREACHED = 20  # by then something else than a clip is wrong
_STOPPED = "decoding was stopped"


class NotInstalledError(StgcmaError, ValueError):
    """A module that the children are to load is not installed."""


class IsolatedPool:
    """Child processes for work that may kill them. Use it in `with`, from one thread.

    workers: how many processes.
    timeout_seconds: a try that takes longer is killed, and not repeated. Neither steps of the system's clock
        nor time in which this machine or process was suspended count.
    memory_bytes: what a process may allocate beyond what it has after `imports` (Linux: RLIMIT_DATA). Each
        program that it starts may have as much.
    tries: how often an item is tried that kills its process (at most twice when it runs out of memory).
    imports: modules to load in every process before the cap is set. torch alone reserves 800 MB.
    script: whether every process first runs the parent's script, under another name than `__main__`, so that
        functions of it can be called; it must be ready for that.

    Raises `ValueError` for numbers that are not positive, or imports that are not installed.
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
        self._pending: set[Future[_Answer]] = set()
        self._elapsed: dict[Future[_Answer], Elapsed] = {}
        self._late: set[Future[_Answer]] = set()
        self._submitting = threading.Lock()

    def __enter__(self) -> IsolatedPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all child processes, whatever they are doing, and the `map` that waits for them.

        Any thread may call it.
        """
        with self._submitting:
            self._closed = True
        self._stop()
        # Pebble leaves the futures of a stopped pool as they are, and who waits for one waits for ever.
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
        """Yields `(item, function(item))` in the order of `items`, or `(item, ClipError)` where it failed.

        `function` is importable, `items` and results can be pickled; `items` are taken as they are needed. An
        exception that is no `ClipError` counts as 'crashed', except `StgcmaError`, which is raised here: it
        is about the request, not about one clip. So is a process that cannot start.
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

    def _submit(self, function: Callable[[Item], Outcome], item: Item) -> tuple[Future[_Answer], ProcessPool]:
        from pebble import ProcessPool

        # As bytes: what a child cannot load would end it before it has said which task it took.
        payload = bytes(ForkingPickler.dumps((function, item)))
        with self._submitting:
            if self._closed:
                raise StgcmaError(_STOPPED)
            if self._pool is not None and not self._pool.active:
                self._stop()  # its pipes broke; start over
            if self._pool is None:
                self._pool = ProcessPool(
                    max_workers=self.workers,
                    initializer=_enter_child,
                    initargs=(self.memory_bytes, self.imports),
                    context=multiprocessing.get_context("spawn") if self.script else _ScriptlessContext(),
                )
            pool = self._pool
            answer: Future[_Answer] = pool.schedule(_attempt, args=(payload,))
            self._pending.add(answer)
        answer.add_done_callback(self._forget)
        return answer, pool

    def _forget(self, answer: Future[_Answer]) -> None:
        self._pending.discard(answer)
        self._elapsed.pop(answer, None)

    def _wait(self, task: _Task[Item]) -> _Answer:
        """Waits for a task, and meanwhile ends all that are late.

        Raises CancelledError for one that was ended, and what pebble raises for one that has no answer.
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
                if not answer.cancel():  # it came to an end just now
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
                # Which item broke the pool is not known, nor does it always happen: no try is lost by it.
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


class _ScriptlessProcess(SpawnProcess):
    """A process that does not run the parent's script.

    A script that has no check of `__name__` would start itself over and over.
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


@dataclass
class _Task(Generic[Item]):
    item: Item
    future: Future[_Answer]
    pool: ProcessPool


@dataclass(frozen=True)
class _Answer:
    """What a child sends back: exceptions only of kinds that are known to survive the way."""

    result: Any = None
    error: ClipError | StgcmaError | None = None


def _death(status: int, number: int) -> ClipError:
    if status == _OUT_OF_MEMORY_STATUS:
        return ClipError("out-of-memory", f"needed more memory than it may have, {number} times")
    how = f"ended with status {status}"
    if status < 0:
        with contextlib.suppress(ValueError):  # a real-time signal has no name
            how = f"was ended by {signal.Signals(-status).name}"
    return ClipError("crashed", f"its process {how}, {number} times")


def _attempt(payload: bytes) -> _Answer:
    """In the child: one try of a pickled function and its argument."""
    if _start_failure is not None:
        return _Answer(error=cannot_start(_start_failure))
    try:
        function, item = ForkingPickler.loads(payload)  # from the parent alone
    except MemoryError:
        os._exit(_OUT_OF_MEMORY_STATUS)
    except Exception as error:
        return _Answer(error=cannot_start(_told(error)))
    try:
        return _Answer(result=function(item))
    except MemoryError:
        # This process may be left with what it hoarded. The next one is clean.
        os._exit(_OUT_OF_MEMORY_STATUS)
    except (ClipError, StgcmaError) as error:
        return _Answer(error=error)
    except Exception as error:
        return _Answer(error=crash(error))


def crash(error: Exception) -> ClipError:
    """What to say of a clip at which an exception was raised that nobody foresaw."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    said = re.sub(r"0x[0-9a-f]{6,}", "0x…", str(error))  # addresses differ from run to run
    message = f"{type(error).__name__}: {said} ({Path(where.filename).name}, line {where.lineno})"
    return ClipError("crashed", message)


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


# In a child: why it could not be made ready.
_start_failure: str | None = None


def start_child(memory_bytes: int, imports: Sequence[str]) -> None:
    """Does what a child does before its first task. Raises StgcmaError with what went wrong."""
    _enter_child(memory_bytes, imports)
    if _start_failure is not None:
        raise StgcmaError(_start_failure)


def _enter_child(memory_bytes: int, imports: Sequence[str]) -> None:
    """In the child, before its first task."""
    # Pebble lets a terminated process tidy up, in Python, which one that holds the GIL never does.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.setsid()  # Ctrl-C is for the parent alone; a program that it cut short would pass for a damaged clip
    _die_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in imports:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:
            # Kept for its first task: a child that ends here is started again and again.
            global _start_failure
            _start_failure = f"{name} does not load: {_told(error)}"
            return
    if sys.platform.startswith("linux"):
        # Not RLIMIT_AS: torch reserves gigabytes of addresses that it never touches.
        cap_memory(_data_bytes() + memory_bytes)


def cap_memory(limit_bytes: int) -> None:
    """Limits what this process may allocate (Linux), to less where the system allows less."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _data_bytes() -> int:
    """What counts against RLIMIT_DATA at present, proc_pid_status(5)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def _die_with_parent() -> None:
    """Has the kernel end this process with SIGIO when the parent's end of the pipe between them closes.

    PR_SET_PDEATHSIG would tie it to the *thread* that started it. What runs here need not cooperate.
    """
    parent = multiprocessing.parent_process()
    if parent is None or not hasattr(fcntl, "F_SETOWN"):
        return
    pipe = int(parent.sentinel)
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    gone = select.poll()
    gone.register(pipe, select.POLLHUP)
    if gone.poll(0):  # it died before the kernel was asked
        os._exit(1)
