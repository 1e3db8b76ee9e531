"""What the tests of whole runs share."""

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
def start(environment):
    """`start("run", OUT, RAW, …)` starts the stand-in as a process of its own; ended with the test."""
    processes = []

    def start(*arguments, **options):
        process = subprocess.Popen(
            [sys.executable, str(STAND_IN), *map(str, arguments)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def finish(start):
    """As `start`, waits for its end: (status, stdout, stderr)."""

    def finish(*arguments, **options):
        process = start(*arguments, **options)
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
