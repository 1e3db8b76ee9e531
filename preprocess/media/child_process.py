"""Code that runs in an isolated child process: its limits, and one task at a time.

`isolation` starts the children. Nothing here may load a decoder before the limits are set.
"""

from __future__ import annotations

import fcntl
import importlib
import multiprocessing
import os
import re
import resource
import select
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from ...errors import StgcmaError
from .child_start import cannot_start
from .reasons import ClipError

OUT_OF_MEMORY_STATUS = 77  # of a child that ran out of memory and ended itself; no signal, no shell's code


@dataclass(frozen=True)
class Answer:
    """Result of a child: only exceptions of types that can be pickled."""

    result: Any = None
    error: ClipError | StgcmaError | None = None


def attempt(payload: bytes) -> Answer:
    """Call a pickled function with its pickled argument, once."""
    if _start_failure is not None:
        return Answer(error=cannot_start(_start_failure))
    try:
        function, item = ForkingPickler.loads(payload)  # from the parent alone
    except MemoryError:
        os._exit(OUT_OF_MEMORY_STATUS)
    except Exception as error:
        return Answer(error=cannot_start(_described(error)))
    try:
        return Answer(result=function(item))
    except MemoryError:
        # The memory may stay allocated in this process; the next one starts without it.
        os._exit(OUT_OF_MEMORY_STATUS)
    except (ClipError, StgcmaError) as error:
        return Answer(error=error)
    except Exception as error:
        return Answer(error=crash(error))


def crash(error: Exception) -> ClipError:
    """Return the ClipError for an unexpected exception."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    said = re.sub(r"0x[0-9a-f]{6,}", "0x…", str(error))  # addresses differ from run to run
    message = f"{type(error).__name__}: {said} ({Path(where.filename).name}, line {where.lineno})"
    return ClipError("crashed", message)


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


# The reason for which this child could not be prepared.
_start_failure: str | None = None


def start_child(memory_bytes: int, imports: Sequence[str]) -> None:
    """Prepare this process as `enter_child` does. Raises StgcmaError with the cause when that fails."""
    enter_child(memory_bytes, imports)
    if _start_failure is not None:
        raise StgcmaError(_start_failure)


def enter_child(memory_bytes: int, imports: Sequence[str]) -> None:
    """Prepare this process for its first task: session, death with the parent, imports, limits."""
    # Pebble's handler cleans up in Python, which never runs in a process that holds the GIL.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Ctrl-C is for the parent alone: a program that it interrupted would look like a damaged clip.
    os.setsid()
    _die_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in imports:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:
            # Reported by the first task: a child that ended here would be started again and again.
            global _start_failure
            _start_failure = f"{name} does not load: {_described(error)}"
            return
    if sys.platform.startswith("linux"):
        # Not RLIMIT_AS: torch reserves gigabytes of addresses that it never touches.
        cap_memory(_data_bytes() + memory_bytes)


def cap_memory(limit_bytes: int) -> None:
    """Limit the memory that this process may allocate (Linux), to less where the system allows less."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _data_bytes() -> int:
    """Return the bytes that count against RLIMIT_DATA now, see proc_pid_status(5)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def _die_with_parent() -> None:
    """Let the kernel end this process with SIGIO when the parent's end of the pipe between them closes.

    PR_SET_PDEATHSIG would bind it to the *thread* that started it. The running code need not cooperate.
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
    if gone.poll(0):  # the parent died before the lines above
        os._exit(1)
