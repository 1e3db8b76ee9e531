"""Forecast of a run: nothing is written, and its numbers are those of the run."""

from unittest import mock

import pytest
from stgcma.preprocess.pipeline import engines
from stgcma.preprocess.pipeline import forecast as forecasting
from stgcma.preprocess.pipeline.forecast import forecast
from stgcma.preprocess.pipeline.options import Options
from stgcma.preprocess.pipeline.output import open_output
from stgcma.preprocess.pipeline.raw_storage import ClipMaker
from stgcma.preprocess.pipeline.shard_plan import plan_shards

from .stand_in import CLIPS_PER_SHARD, StandIn, build, contents, make_collection, run_serial


@pytest.fixture
def expected(raw):
    """`expected(OUT, …)` is the forecast of the stand-in's run with 43 clips."""

    def expected(out, *, seconds=0.02, **options):
        make = ClipMaker(StandIn(raw, seconds))
        with (
            mock.patch.object(engines, "IMPORTS", ()),
            mock.patch.object(forecasting, "CLIPS_PER_SHARD", CLIPS_PER_SHARD),
        ):
            return forecast(make_collection(43), make, out, Options(**options), sampled=3)

    return expected


def test_a_forecast_is_near_the_run_and_writes_nothing(raw, tmp_path, expected):
    out = tmp_path / "out"
    made = expected(out, workers=2)
    assert not out.exists()
    assert (made.clips, made.clips_left, made.finished_clips, made.sampled) == (43, 43, 0, 3)
    assert made.shards == len(plan_shards(make_collection(43).clips, CLIPS_PER_SHARD))
    assert made.seconds == 2.0 * 43
    build(out, raw)
    written = sum(path.stat().st_size for path in (out / "shards").iterdir())
    assert abs(made.bytes / written - 1) < 0.1
    # The stand-in sleeps for 20 ms a clip, which costs time but no CPU.
    assert made.hours * 3600 >= 43 * 0.02 / 2
    assert 0 < made.cpu_hours < 2 * made.hours


def test_finished_shards_and_clips_are_counted(raw, tmp_path, expected):
    out = tmp_path / "out"
    build(out, raw)
    before = contents(out)
    made = expected(out)
    assert (made.finished_clips, made.clips_left, made.hours) == (43, 0, 0.0)
    assert made.finished_shards == len(list((out / "shards").iterdir()))
    assert contents(out) == before
    assert expected(out, overwrite=True).clips_left == 43


def test_shards_of_an_unfinished_run_are_counted(raw, tmp_path, expected):
    out = tmp_path / "out"
    tasks = plan_shards(make_collection(43).clips, CLIPS_PER_SHARD)
    with open_output(out) as output:
        output.begin({"plan": 1}, overwrite=False)
        with mock.patch.object(engines, "IMPORTS", ()):
            for result in run_serial(tasks[:3], StandIn(raw), output.shards, on_clip=lambda *_: None):
                output.record(result)
    before = contents(out)
    made = expected(out)
    assert (made.finished_shards, made.finished_clips, made.clips_left) == (3, 12, 31)
    assert contents(out) == before


def test_clips_of_the_sample_that_fail_are_reported(raw, tmp_path, expected):
    for number in range(20):
        (raw / f"clip-{number}.bad").touch()
    made = expected(tmp_path / "out")
    assert made.failures == {"unreadable": 1}
    assert made.messages[0].endswith(".mp4 cannot be read")
    assert made.seconds == pytest.approx(43 * 2 * 2 / 3)  # two of three clips can be made
    for number in range(43):
        (raw / f"clip-{number}.bad").touch()
    made = expected(tmp_path / "out")
    assert (made.seconds, made.bytes, made.cpu_hours, made.hours) == (None,) * 4
    assert made.failures == {"unreadable": 3}
