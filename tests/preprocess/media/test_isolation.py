"""Whatever a child process does, the parent lives and every item has an outcome, in order."""

import contextlib
import functools
import math
import multiprocessing
import operator
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pebble.pool.process import WorkerManager
from stgcma.errors import InputError, StgcmaError
from stgcma.preprocess.media.isolation import IsolatedPool
from stgcma.preprocess.media.probe import ClipError

MEGABYTE = 1 << 20

# Children import what they run, so these are functions of the standard library, called by operator.call.
ABORT = functools.partial(signal.raise_signal, signal.SIGABRT)
HANG = functools.partial(time.sleep, 600)
HANG_WITH_GIL = functools.partial(re.fullmatch, "(a+)+b", "a" * 60)
EAT_MEMORY = functools.partial(bytearray, 4096 * MEGABYTE)
RAISE = functools.partial(math.sqrt, -1)


def number(value):
    return functools.partial(abs, value)


def pool(workers=2, **options):
    return IsolatedPool(workers, **{"timeout_seconds": 30, "memory_bytes": 512 * MEGABYTE, **options})


def reasons(pairs):
    return [result.reason if isinstance(result, ClipError) else result for _, result in pairs]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_results_come_in_order_with_their_items():
    with pool() as isolated:
        delays = [functools.partial(time.sleep, 0.3), *(number(-value) for value in range(30))]
        pairs = list(isolated.map(operator.call, delays))
        assert [item for item, _ in pairs] == delays
        assert [result for _, result in pairs] == [None, *range(30)]
        assert [result for _, result in isolated.map(abs, [-1, -2])] == [1, 2]  # it can be used again
    assert not multiprocessing.active_children()


def test_a_child_may_abort_eat_memory_or_raise():
    items = [number(-1), ABORT, number(-2), EAT_MEMORY, RAISE, number(-3), ABORT, number(-4)]
    with pool() as isolated:
        pairs = list(isolated.map(operator.call, items))
    assert reasons(pairs) == [1, "crashed", 2, "out-of-memory", "crashed", 3, "crashed", 4]
    messages = [result.message for _, result in pairs if isinstance(result, ClipError)]
    assert messages[0] == "its process was ended by SIGABRT, 3 times"
    assert messages[1] == "needed more memory than it may have, 2 times"
    assert re.match(r"ValueError: .* \(child_process\.py, line \d+\)", messages[2])


def test_a_child_that_ends_itself_without_an_error_is_reported_at_once():
    with pool(timeout_seconds=600, tries=1) as isolated:
        pairs = list(isolated.map(operator.call, [functools.partial(os._exit, 0), number(-1)]))
    assert reasons(pairs) == ["crashed", 1]
    assert pairs[0][1].message == "its process ended with status 0, 1 times"


def test_a_death_that_is_seen_before_its_task_was_known_is_reported(monkeypatch):
    """The parent reads each message 0.4 s late, and looks at its processes every 0.1 s."""
    receive = WorkerManager.receive

    def receive_late(manager, timeout):
        if manager.pool_channel.poll(timeout):
            time.sleep(0.4)
        return receive(manager, 0)

    monkeypatch.setattr(WorkerManager, "receive", receive_late)
    with pool(timeout_seconds=20, tries=2) as isolated:
        pairs = list(isolated.map(operator.call, [functools.partial(time.sleep, 2), ABORT]))
    assert reasons(pairs) == [None, "crashed"]
    assert pairs[1][1].message == "its process was ended by SIGABRT, 2 times"


def test_the_number_of_tries_is_kept():
    with pool(workers=1, tries=2) as isolated:
        assert [str(result) for _, result in isolated.map(operator.call, [ABORT])] == [
            "crashed: its process was ended by SIGABRT, 2 times"
        ]


@pytest.mark.parametrize("hang", [HANG, HANG_WITH_GIL], ids=["asleep", "holding-the-gil"])
def test_a_child_that_hangs_is_killed_at_its_deadline(hang):
    with pool(timeout_seconds=2) as isolated:
        pairs = list(isolated.map(operator.call, [number(-1), hang, number(-2), hang, number(-3)]))
    assert reasons(pairs) == [1, "timeout", 2, "timeout", 3]
    assert pairs[1][1].message == "not done after 2 s"
    assert not multiprocessing.active_children()


def test_memory_that_imports_take_does_not_count(tmp_path, monkeypatch):
    """torch reserves 800 MB, this module 512."""
    (tmp_path / "large_module.py").write_text(
        "import mmap\nreserved = mmap.mmap(-1, 512 << 20, mmap.MAP_PRIVATE)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pool(workers=1, memory_bytes=256 * MEGABYTE, imports=("large_module",)) as isolated:
        work = [functools.partial(bytearray, 64 * MEGABYTE)]
        assert [len(result) for _, result in isolated.map(operator.call, work)] == [64 * MEGABYTE]


def test_an_error_of_the_request_is_raised():
    source = "from stgcma.errors import InputError; raise InputError('RAW is not there')"
    with pool(workers=1) as isolated, pytest.raises(InputError, match="RAW is not there"):
        list(isolated.map(exec, [source]))


def test_items_are_taken_as_they_are_needed():
    taken = []

    def items():
        for value in range(1000):
            taken.append(value)
            yield -value

    with pool(workers=1) as isolated:
        results = isolated.map(abs, items())
        assert next(results) == (0, 0)
        assert len(taken) < 20
        results.close()


SCRIPT = """
import operator, os, re
from pathlib import Path
from stgcma.preprocess.media.isolation import IsolatedPool

def tell(name):
    Path(os.environ["PIDS"], name).write_text(str(os.getpid()))

def hang_with_gil():
    tell("gil")
    re.fullmatch("(a+)+b", "a" * 60)

def hang_in_ffmpeg():
    import ffmpeg
    from stgcma.preprocess.media.ffmpeg_process import run_ffmpeg
    tell("ffmpeg")
    run_ffmpeg(Path(__file__), ffmpeg.input("anullsrc", f="lavfi").output("pipe:", format="null"))

if __name__ == "__main__":
    tell("parent")
    with IsolatedPool(2, timeout_seconds=600, memory_bytes=1 << 30) as pool:
        list(pool.map(operator.call, [hang_with_gil, hang_in_ffmpeg]))
"""


def wait_until(condition, what, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"after {seconds} s: not yet {what}"
        time.sleep(0.05)


def children_of(pid):
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_children_and_their_programs_die_with_the_parent(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PIDS": str(tmp_path)}
    with subprocess.Popen([sys.executable, script], env=environment) as parent:
        names = ("gil", "ffmpeg")
        wait_until(
            lambda: all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in names),
            "two tasks that run",
        )
        workers = [int((tmp_path / name).read_text()) for name in names]
        wait_until(lambda: children_of(workers[1]), "a program of the second task")
        family = [*workers, *children_of(workers[1])]
        assert all(is_alive(pid) for pid in family)
        parent.kill()
    wait_until(lambda: not any(is_alive(pid) for pid in family), f"the end of all of {family}")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_program_of_a_child_that_is_killed_dies_with_it():
    mark = f"comment=child-of-{os.getpid()}"
    source = f"""
import ffmpeg
from pathlib import Path
from stgcma.preprocess.media.ffmpeg_process import run_ffmpeg
silence = ffmpeg.input("anullsrc", f="lavfi")
run_ffmpeg(Path({__file__!r}), silence.output("pipe:", format="null", metadata="{mark}"))
"""

    def running():
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                found.append(mark.encode() in path.read_bytes().split(b"\0"))
        return any(found)

    modules = ("ffmpeg", "stgcma.preprocess.media.ffmpeg_process")  # loaded before the time is counted
    with pool(workers=1, timeout_seconds=3, imports=modules) as isolated:
        results = isolated.map(exec, [source])
        waiting = threading.Thread(target=lambda: outcomes.extend(results))
        outcomes = []
        waiting.start()
        wait_until(running, "a program that runs")
        waiting.join()
        assert reasons(outcomes) == ["timeout"]
        wait_until(lambda: not running(), "the end of the program")


def test_closing_ends_a_map_that_waits_in_another_thread():
    """Whatever the process is doing then: starting, working, or dying."""
    for delay in (0.0, 0.05, 0.2, 1.0):
        isolated = pool(workers=1)
        errors = []

        def work(isolated=isolated, errors=errors):
            try:
                list(isolated.map(operator.call, [HANG] * 9))
            except StgcmaError as error:
                errors.append(str(error))

        waiting = threading.Thread(target=work)
        waiting.start()
        time.sleep(delay)
        isolated.close()
        waiting.join(timeout=60)
        assert errors == ["decoding was stopped"]
    assert not multiprocessing.active_children()


def test_imports_must_be_installed():
    with pytest.raises(ValueError, match=r"imports names 'no_such_module\.part', which is not installed"):
        pool(imports=("torch", "no_such_module.part"))


def test_a_worker_that_is_killed_from_outside_is_replaced():
    with pool() as isolated:
        results = isolated.map(operator.call, [functools.partial(time.sleep, 0.5)] * 6)
        next(results)
        for child in multiprocessing.active_children():
            child.kill()
        assert reasons(results) == [None] * 5


@pytest.mark.parametrize("name", ["workers", "timeout_seconds", "memory_bytes", "tries"])
def test_numbers_must_be_positive(name):
    options = {"workers": 1, "timeout_seconds": 1, "memory_bytes": 1, "tries": 1, name: 0}
    with pytest.raises(ValueError, match=f"{name} is 0, it must be positive"):
        IsolatedPool(**options)


PLAIN_SCRIPT = """
from pathlib import Path
from stgcma.preprocess.media.isolation import IsolatedPool

with IsolatedPool(1, timeout_seconds=60, memory_bytes=1 << 30, script=False) as pool:
    print(list(pool.map(Path.as_posix, [Path("a")])))
"""


def test_a_script_needs_no_guard(tmp_path):
    """Children do not run the parent's script again, which would start children of its own."""
    (tmp_path / "script.py").write_text(PLAIN_SCRIPT)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "[(PosixPath('a'), 'a')]\n"
