"""Faults of the machine, its clock or its packages are not attributed to a clip."""

import functools
import importlib
import itertools
import operator
import re
import subprocess
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from stgcma.errors import StgcmaError
from stgcma.preprocess.collections.specification import ClipSpecification
from stgcma.preprocess.media import deadlines
from stgcma.preprocess.media.isolation import IsolatedPool
from stgcma.preprocess.media.probe import ClipError
from stgcma.preprocess.pipeline import engines
from stgcma.preprocess.pipeline.raw_storage import ClipMaker

MEGABYTE = 1 << 20
SHORT = functools.partial(time.sleep, 0.6)
HANG = functools.partial(time.sleep, 600)


def pool(workers=1, **options):
    return IsolatedPool(workers, **{"timeout_seconds": 20, "memory_bytes": 512 * MEGABYTE, **options})


def reasons(pairs):
    return [result.reason if isinstance(result, ClipError) else result for _, result in pairs]


@pytest.mark.parametrize("step_seconds", [1e6, -1e6])
def test_steps_of_the_systems_clock_neither_end_nor_spare_a_child(monkeypatch, step_seconds):
    steps, now = itertools.count(), time.time
    monkeypatch.setattr(time, "time", lambda: now() + 1e9 + next(steps) * step_seconds)
    with pool() as isolated:
        assert reasons(isolated.map(operator.call, [SHORT, SHORT])) == [None, None]
    with pool(timeout_seconds=1) as isolated:
        assert reasons(isolated.map(operator.call, [HANG])) == ["timeout"]


def test_time_in_which_this_process_did_not_run_does_not_count(monkeypatch):
    """As after a suspend, Ctrl-Z or a frozen container: the clock went on by minutes between two looks."""
    clock = itertools.count(step=6000)
    monkeypatch.setattr(deadlines, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    with pool(timeout_seconds=600) as isolated:  # 60 s or more, since a look counts as one second
        assert reasons(isolated.map(operator.call, [SHORT, SHORT])) == [None, None]
    with pool(timeout_seconds=2) as isolated:
        assert reasons(isolated.map(operator.call, [HANG])) == ["timeout"]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """`module(body)` is a module that children load; `starts()` is how many tried."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(body):
        note = f"with open({str(tmp_path / 'starts')!r}, 'a') as file: file.write('x')\n"
        (tmp_path / "broken_module.py").write_text(note + body)
        return "broken_module"

    write.starts = lambda: len((tmp_path / "starts").read_text())
    return write


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (
            "raise ImportError('libsndfile.so.1: cannot open shared object file')",
            "broken_module does not load: ImportError: libsndfile.so.1: cannot open shared object file",
        ),
        ("import sys; sys.exit('no licence')", "broken_module does not load: SystemExit: no licence"),
        ("import os; os.abort()", "it was ended by SIGABRT"),
        ("import os; os._exit(5)", "it ended with status 5"),
    ],
)
def test_a_module_that_does_not_load_is_an_error_at_once_and_no_clips(module, body, cause):
    name = module(body)
    with pool(imports=(name,)) as isolated, pytest.raises(StgcmaError) as caught:
        list(isolated.map(abs, [-1, -2]))
    assert (
        str(caught.value) == f"a child process cannot start: {cause}; `stgcma doctor` tests this installation"
    )
    assert caught.value.exit_code == 1
    assert module.starts() <= 4


def test_what_a_child_cannot_load_is_an_error_with_other_children_at_work(monkeypatch):
    made = types.ModuleType("only_in_the_parent")
    exec("def double(value): return 2 * value", made.__dict__)
    monkeypatch.setitem(sys.modules, made.__name__, made)
    cause = "a child process cannot start: ModuleNotFoundError: No module named 'only_in_the_parent'"
    with pool(workers=2) as isolated, pytest.raises(StgcmaError, match=cause):
        list(isolated.map(made.double, [1, 2, 3]))


SCRIPT = """
import sys
from stgcma.errors import StgcmaError
from stgcma.preprocess.media.isolation import IsolatedPool

if __name__ != "__main__":
    raise RuntimeError("this script cannot be loaded again")
try:
    with IsolatedPool(1, timeout_seconds=60, memory_bytes=1 << 30) as pool:
        print(list(pool.map(abs, [-1])))
except StgcmaError as error:
    print(error)
"""


def test_a_script_that_children_cannot_run_is_the_cause(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.startswith(
        "a child process cannot start: RuntimeError: this script cannot be loaded again;"
    )


def test_preprocess_ends_with_status_1_and_quarantines_nothing(stgcma, module, tmp_path, monkeypatch):
    (tmp_path / "raw/dog").mkdir(parents=True)
    for number in range(3):
        (tmp_path / f"raw/dog/{number}.mp4").touch()
    command = ("preprocess", "folder", tmp_path / "raw", tmp_path / "out", "--max-failed", "100%")
    monkeypatch.setattr(engines, "IMPORTS", (module("raise OSError('libcuda.so is missing')"),))
    result = stgcma(*command)
    assert result.status == 1
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1] == (
        "stgcma: a child process cannot start: broken_module does not load: OSError: libcuda.so is missing"
        "; `stgcma doctor` tests this installation"
    )
    assert not (tmp_path / "out/quarantine.parquet").exists()
    monkeypatch.setattr(engines, "IMPORTS", ("no_such_module",))
    result = stgcma(*command)
    assert (result.status, result.stderr.splitlines()[-1]) == (
        1,
        "stgcma: imports names 'no_such_module', which is not installed",
    )


@dataclass(frozen=True)
class NeedsAbsent:
    """A maker of samples that lacks a package."""

    raw: Path

    def __call__(self, _clip):
        importlib.import_module("no_such_package")


def test_a_package_that_a_clip_needs_is_not_the_clips_fault(tmp_path):
    clip = ClipSpecification("a", "train", "a.mp4")
    with pytest.raises(StgcmaError, match="a module does not load: No module named 'no_such_package'; `st"):
        ClipMaker(NeedsAbsent(tmp_path))(clip)


def test_a_module_that_the_command_needs_is_named_in_one_line(stgcma, monkeypatch):
    monkeypatch.setitem(sys.modules, "stgcma.preprocess.pipeline.run", None)
    result = stgcma("preprocess", "folder", "RAW", "OUT")
    assert result.status == 1
    assert re.fullmatch(
        r"stgcma: a module does not load: import of stgcma\.preprocess\.pip.*; `stgcma doctor` .*\n",
        result.stderr,
    )
