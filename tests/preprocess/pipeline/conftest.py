"""Fixtures for tests of whole runs."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

STAND_IN = Path(__file__).with_name("stand_in.py")


@pytest.fixture
def environment():
    """For child processes: they import what this process imports."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.fixture
def start(forks, environment):
    """`start("run", OUT, RAW, …)` starts the stand-in as a process of its own; ended with the test."""
    with contextlib.ExitStack() as processes:

        def start(*arguments):
            if arguments[0] == "everywhere":  # it forks a hundred times: cheap without torch in its memory
                process = subprocess.Popen(
                    [sys.executable, STAND_IN, *map(str, arguments)],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                processes.enter_context(process)
                processes.callback(process.kill)
                return process
            return processes.enter_context(forks.popen([sys.executable, STAND_IN, *arguments]))

        yield start


@pytest.fixture
def finish(start):
    """As `start`, waits for its end: (status, stdout, stderr)."""

    def finish(*arguments):
        process = start(*arguments)
        stdout, stderr = process.communicate(timeout=240)
        return process.returncode, stdout, stderr

    return finish


@pytest.fixture
def raw(tmp_path):
    """RAW of the stand-in: two clips cannot be made, one of them alone in its shard's end."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for key in ("clip-5", "clip-42"):
        (folder / f"{key}.bad").touch()
    return folder
