"""Runs that are killed at random until they end."""

import random
import shutil
import signal
import time

from .stand_in import contents


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
