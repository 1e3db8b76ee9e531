"""Kill runs before operations on files, and at random."""

import json
import random
import shutil
import signal
import time

import pytest

from .stand_in import contents

# Before operations of every kind; the slow tests before each operation.
before_operations = pytest.mark.parametrize(
    "every",
    [False, pytest.param(True, marks=(pytest.mark.slow, pytest.mark.timeout(900)))],
    ids=["each-kind", "every"],
)


def check_kills(finish, folder, raw, every, *options, operations):
    """Kill runs of 12 clips before operations on files; there must be more than `operations` of them."""
    sweep = ("--every",) if every else ()
    status, stdout, stderr = finish("everywhere", folder, raw, "--clips", 12, "--serial", *options, *sweep)
    assert status == 0, stderr
    result = json.loads(stdout)
    assert result["different"] == []
    assert result["operations"] > operations
    assert result["kills"] == result["operations"] if every else result["kills"] > operations // 4


# Some kills; the slow tests a hundred.
random_kills = pytest.mark.parametrize(
    "kills", [4, pytest.param(100, marks=(pytest.mark.slow, pytest.mark.timeout(900)))]
)


def check_random_kills(finish, folder, raw, kills, *options):
    """Kill runs of 12 clips before random operations on files, and compare what they come to."""
    arguments = ("--clips", 12, "--serial", "--kills", kills, *options)
    status, stdout, stderr = finish("randomly", folder, raw, *arguments)
    assert status == 0, stderr
    result = json.loads(stdout)
    assert result["kills"] >= kills
    assert (result["runs"] > 0, result["different"]) == (True, 0)


def kill_at_random(start_run, wanted, out, *, kills, longest_seconds, seed):
    """Starts runs into `out` and kills them after random times; in the end one may finish.

    `start_run(out, workers)` gives a process. A run that ends before it is killed is compared with `wanted`,
    the contents of a run that nobody disturbed, and `out` begins anew.
    """
    rng = random.Random(seed)
    killed = 0
    while killed < kills:
        process = start_run(out, rng.choice((1, 2, 4)))
        while not (out / ".lock").exists() and process.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, longest_seconds))
        process.send_signal(signal.SIGKILL)
        _, stderr = process.communicate()
        if process.returncode == -signal.SIGKILL:
            killed += 1
            continue
        assert process.returncode == 0, stderr
        assert contents(out) == wanted
        shutil.rmtree(out)
    process = start_run(out, 2)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert contents(out) == wanted
