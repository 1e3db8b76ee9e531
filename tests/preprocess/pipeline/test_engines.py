"""Numbers of workers and surroundings that change no byte."""

import subprocess
import sys

import pytest
from stgcma.shards.verification import verify

from .stand_in import contents


@pytest.mark.parametrize(
    ("workers", "locale", "zone"),
    [
        pytest.param(4, "C.utf8", "Asia/Tokyo", marks=pytest.mark.slow),
        (2, "POSIX", "America/St_Johns"),
        pytest.param(1, "C", "UTC", marks=pytest.mark.slow),
    ],
)
def test_workers_locale_and_time_zone_change_nothing(ave, tmp_path, environment, workers, locale, zone):
    raw, out = ave
    command = [
        sys.executable,
        "-m",
        "stgcma",
        "preprocess",
        "ave",
        raw,
        tmp_path / "out",
        "--features",
        "clip",
    ]
    command += ["--workers", str(workers), "--max-failed", "50%"]
    surroundings = environment | {"LC_ALL": locale, "LANG": locale, "TZ": zone}
    done = subprocess.run(
        command, env=surroundings, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "out") == contents(out)


def test_the_collection_has_written_and_quarantined_clips(ave):
    result = verify(ave[1], on_total=lambda _: None, on_bytes=lambda _: None)
    assert (result.clips, result.faults) == (11, ())
