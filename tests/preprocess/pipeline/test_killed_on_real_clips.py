"""The whole program on real encoded clips, killed a hundred times."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from stgcma.shards.verification import verify

from .real_clips import make_collection
from .stand_in import contents

SEED = 20260919
KILLS = 100


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_hundred_kills_over_real_clips(tmp_path, environment):
    raw, out = tmp_path / "raw", tmp_path / "out"
    make_collection(raw, clips=100)  # four shards

    def start(out, workers):
        command = [sys.executable, "-m", "stgcma", "preprocess", "ave", raw, out]
        command += ["--features", "clip", "--workers", str(workers)]
        return subprocess.Popen(
            command,
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(process):
        _, stderr = process.communicate()
        assert process.returncode == 0, stderr

    begun = time.monotonic()
    finish(start(tmp_path / "whole", 2))
    longest_seconds = time.monotonic() - begun
    wanted = contents(tmp_path / "whole")
    rng = random.Random(SEED)
    killed = finished = 0
    while killed < KILLS:
        process = start(out, rng.choice((1, 2, 4)))
        while not (out / ".lock").exists() and process.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, longest_seconds))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            killed += 1
            continue
        finish(process)
        finished += 1
        assert contents(out) == wanted
        shutil.rmtree(out)
    finish(start(out, 2))
    assert contents(out) == wanted
    result = verify(out, on_total=lambda _: None, on_bytes=lambda _: None)
    assert (result.clips, result.faults) == (99, ())
    assert killed == KILLS
