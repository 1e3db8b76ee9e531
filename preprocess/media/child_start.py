"""Diagnosis of a child process that does not start: start one again and read its stderr."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing import spawn

from ...errors import StgcmaError

_TIMEOUT_SECONDS = 600.0
# The steps of a spawned child before its first task.
_PROGRAM = """
import pickle, sys
preparation, memory_bytes, imports = pickle.load(sys.stdin.buffer)
from multiprocessing import spawn
spawn.prepare(preparation)
import pebble.pool.process
from {module} import start_child
start_child(memory_bytes, imports)
"""


def cannot_start(cause: str) -> StgcmaError:
    """Return the error for a child that does not start; it concerns this machine, not a clip."""
    return StgcmaError(f"a child process cannot start: {cause}; `stgcma doctor` tests this installation")


def check_start(memory_bytes: int, imports: Sequence[str], *, script: bool) -> None:
    """Start a child as `IsolatedPool` does. Raises StgcmaError with the cause when it fails."""
    preparation = spawn.get_preparation_data("start")
    del preparation["authkey"]  # may only be sent to a real child
    if not script:
        preparation = {name: value for name, value in preparation.items() if not name.startswith("init_main")}
    program = _PROGRAM.format(module=f"{__name__.rpartition('.')[0]}.child_process")
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=pickle.dumps((preparation, memory_bytes, tuple(imports))),
            capture_output=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise cannot_start(f"it is not up after {_TIMEOUT_SECONDS:.0f} s") from None
    except OSError as error:
        raise cannot_start(error.strerror or str(error)) from error
    if done.returncode != 0:
        raise cannot_start(_cause(done.returncode, done.stderr))


def _cause(status: int, stderr: bytes) -> str:
    # The type of an error of this package adds nothing to its message.
    lines = [
        line.strip().rpartition("StgcmaError: ")[2]
        for line in stderr.decode("utf-8", "replace").splitlines()
        if line.strip()
    ]
    said = f" ({lines[-1]})" if lines else ""
    if status > 0:
        return lines[-1] if lines else f"it ended with status {status}"
    try:
        return f"it was ended by {signal.Signals(-status).name}{said}"
    except ValueError:  # a real-time signal has no name
        return f"it was ended by signal {-status}{said}"
