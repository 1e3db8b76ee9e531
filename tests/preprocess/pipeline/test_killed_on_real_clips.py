"""The whole program on real encoded clips, killed a hundred times."""

import subprocess
import sys
import time

import pytest
from stgcma.shards.verification import verify

from .killing import kill_at_random
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

    begun = time.monotonic()
    whole = start(tmp_path / "whole", 2)
    _, stderr = whole.communicate()
    assert whole.returncode == 0, stderr
    longest_seconds = time.monotonic() - begun
    wanted = contents(tmp_path / "whole")
    kill_at_random(start, wanted, out, kills=KILLS, longest_seconds=longest_seconds, seed=SEED)
    result = verify(out, on_total=lambda _: None, on_bytes=lambda _: None)
    assert (result.clips, result.faults) == (99, ())
