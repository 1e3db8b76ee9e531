"""Limits of a decoding process, read by the process itself."""

import os
import resource
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from stgcma.preprocess.media import deadlines
from stgcma.preprocess.media.ffmpeg_process import _prepared
from stgcma.preprocess.media.isolation import IsolatedPool
from stgcma.preprocess.media.probe import ClipError

MEBIBYTE = 1 << 20
FACTS = """(
    __import__("os").getpid(),
    __import__("os").getsid(0),
    __import__("signal").getsignal(15),
    __import__("resource").getrlimit(__import__("resource").RLIMIT_CORE),
    __import__("resource").getrlimit(__import__("resource").RLIMIT_DATA)[0],
)"""


@pytest.fixture
def cores():
    """Lets this process, and so its children, leave as large a core as the system allows."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


@pytest.mark.usefixtures("cores")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA is Linux's")
def test_a_child_is_alone_ends_when_told_leaves_no_core_and_has_its_memory():
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with IsolatedPool(1, timeout_seconds=30, memory_bytes=300 * MEBIBYTE) as pool:
            ((_, facts),) = pool.map(eval, [FACTS])
    finally:
        signal.signal(signal.SIGTERM, before)
    process, session, on_sigterm, core, data_bytes = facts
    assert process not in (os.getpid(), os.getppid())
    assert session == process, "Ctrl-C in the terminal would reach it"
    assert on_sigterm == signal.SIG_DFL
    assert core == (0, 0)
    assert 300 * MEBIBYTE < data_bytes < 1024 * MEBIBYTE  # its own, and what Python took before


def test_the_limit_on_cores_is_set_where_it_is_zero_already(monkeypatch):
    """A machine without cores cannot show the difference: what is asked of it is looked at."""
    from stgcma.preprocess.media import child_process

    asked = {}
    monkeypatch.setattr(
        child_process.resource, "setrlimit", lambda what, limits: asked.update({what: limits})
    )
    monkeypatch.setattr(child_process.os, "setsid", lambda: None)
    monkeypatch.setattr(child_process, "cap_memory", lambda _: None)
    before = signal.getsignal(signal.SIGTERM)
    try:
        child_process.enter_child(MEBIBYTE, ())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert asked[resource.RLIMIT_CORE] == (0, 0)


def test_a_try_has_a_deadline():
    slow = "__import__('time').sleep(600)"
    with IsolatedPool(1, timeout_seconds=1, memory_bytes=300 * MEBIBYTE) as pool:
        ((_, outcome),) = pool.map(eval, [slow])
    assert isinstance(outcome, ClipError)
    assert outcome.reason == "timeout"


def test_a_deadline_asks_the_clock_that_does_not_jump(monkeypatch):
    ticks = iter([10.0, 10.5, 10.75])
    clocks = SimpleNamespace(monotonic=lambda: next(ticks), time=lambda: pytest.fail("this one may step"))
    monkeypatch.setattr(deadlines, "time", clocks)
    elapsed = deadlines.Elapsed()
    assert [elapsed.tick() for _ in range(3)] == [0.0, 0.5, 0.75]


PROGRAM = """
import ctypes, resource
wanted = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(wanted))  # PR_GET_PDEATHSIG
print(wanted.value, resource.getrlimit(resource.RLIMIT_DATA)[0])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")
def test_an_ffmpeg_dies_with_its_parent_and_has_its_memory():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        preexec_fn=_prepared(400 * MEBIBYTE),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(int(signal.SIGKILL)), str(400 * MEBIBYTE)]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")
def test_an_ffmpeg_whose_parent_died_before_it_could_ask_ends(monkeypatch):
    gone = 1 << 30  # no process has this number
    with monkeypatch.context() as patched:
        patched.setattr("os.getpid", lambda: gone)
        prepared = _prepared()
    assert subprocess.run(["sleep", "5"], preexec_fn=prepared, check=False).returncode == 1
