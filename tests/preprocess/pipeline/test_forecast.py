"""Forecast of a run: nothing is written, and its numbers are those of the run."""

from unittest import mock

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from stgcma.errors import InputError, OtherSettingsError, StgcmaError
from stgcma.preprocess.pipeline import build as building
from stgcma.preprocess.pipeline import engines
from stgcma.preprocess.pipeline.forecast import _spread, forecast
from stgcma.preprocess.pipeline.options import Options
from stgcma.preprocess.pipeline.output import OutputFolder
from stgcma.preprocess.pipeline.raw_storage import ClipMaker
from stgcma.preprocess.pipeline.shard_plan import plan_shards

from .stand_in import (
    CLIPS_PER_SHARD,
    FEATURES,
    VERSIONS,
    StandIn,
    build,
    contents,
    make_collection,
    unfinish,
)


@pytest.fixture
def expected(raw):
    """`expected(OUT, …)` is the forecast of the stand-in's run with 43 clips."""

    def expected(out, *, clips=43, seconds=0.02, clips_per_shard=CLIPS_PER_SHARD, **options):
        make = ClipMaker(StandIn(raw, seconds))
        options = Options(clips_per_shard=clips_per_shard, features=("clip",), **options)
        with (
            mock.patch.object(engines, "IMPORTS", ()),
            mock.patch.object(building, "tool_versions", return_value=VERSIONS),
        ):
            return forecast(make_collection(clips), make, FEATURES, out, options, sampled=3)

    return expected


def stop_after(shards, monkeypatch):
    """Stop a run after so many shards."""
    record, recorded = OutputFolder.record, []

    def stop(output, result):
        record(output, result)
        recorded.append(result)
        if len(recorded) == shards:
            raise KeyboardInterrupt

    monkeypatch.setattr(OutputFolder, "record", stop)


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
    assert expected(out, retry_quarantined=True).clips_left == 2  # two cannot be made
    shard = out / "shards" / "train-000002.tar"
    shard.write_bytes(shard.read_bytes()[:-1024])
    (out / "shards" / "val-000000.tar").unlink()
    cut = expected(out)
    assert (cut.finished_shards, cut.clips_left) == (made.finished_shards - 2, 2 * CLIPS_PER_SHARD)


def test_what_the_run_refuses_is_refused(raw, tmp_path, expected):
    out, other = tmp_path / "out", tmp_path / "other"
    build(out, raw)
    refused = pytest.raises(OtherSettingsError, match="the list of clips or their labels changed")
    with refused:
        expected(out, clips=12)
    assert expected(out, clips=12, overwrite=True).clips_left == 12
    unfinish(out)
    with refused:
        expected(out, clips=12)
    other.mkdir()
    (other / "notes.txt").touch()
    with pytest.raises(InputError, match=r"holds other files \(notes\.txt, …\)"):
        expected(other)


def test_an_out_that_cannot_be_reached_is_named(expected, monkeypatch):
    """The run would fail, too."""

    def fails(*_, **__):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(MemoryFileSystem, "find", fails)
    with pytest.raises(StgcmaError, match=r"memory://out/ cannot be reached: Access Denied"):
        expected("memory://out")


def test_clips_that_cannot_be_made_cost_what_they_took(raw, tmp_path, expected):
    """Of three clips of the sample, one fails at once; the others sleep, as the run would."""
    sampled = [clip.key for clip in _spread(make_collection(43).clips, 3)]
    (raw / f"{sampled[1]}.bad").touch()
    made = expected(tmp_path / "out", seconds=0.2)
    assert made.failures == {"unreadable": 1}
    assert made.hours * 3600 == pytest.approx(43 * 0.2, rel=0.25)
    assert made.seconds == pytest.approx(43 * 2 / 3 * 2.0)


def test_shards_of_an_unfinished_run_are_counted(raw, tmp_path, expected, monkeypatch):
    out = tmp_path / "out"
    stop_after(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        build(out, raw)
    before = contents(out)
    made = expected(out)
    assert (made.finished_shards, made.finished_clips, made.clips_left) == (3, 12, 31)
    assert contents(out) == before


def test_the_size_of_shards_is_that_of_the_run(raw, tmp_path, expected):
    assert expected(tmp_path / "out", clips_per_shard=None).shards == 3  # 27, 8 and 8 clips, 32 in a shard
    assert expected(tmp_path / "out", clips_per_shard=5).shards == 6 + 2 + 2
    build(tmp_path / "out", raw, clips_per_shard=8)
    assert expected(tmp_path / "out", clips_per_shard=None).shards == 4 + 1 + 1


def test_additions_are_counted(raw, tmp_path, expected, monkeypatch):
    """Of 12 clips, 8 are of train, 2 of val and 2 of test; of 5 more, 3, 1 and 1."""
    out = tmp_path / "out"
    build(out, raw, clips=12)
    made = expected(out, clips=17, append=True)
    assert (made.clips, made.shards) == (17, 4 + 3)
    assert (made.finished_shards, made.finished_clips, made.clips_left) == (4, 12, 5)
    made = expected(out, clips=range(12, 17), append=True)
    assert (made.clips, made.shards, made.finished_clips, made.clips_left) == (17, 7, 12, 5)
    stop_after(1, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        build(out, raw, clips=17, append=True)
    made = expected(out, clips=17, append=True)
    assert (made.clips, made.shards) == (17, 7)
    assert (made.finished_shards, made.finished_clips, made.clips_left) == (4 + 1, 12 + 3, 2)
    monkeypatch.undo()
    build(out, raw, clips=17, append=True)
    made = expected(out, clips=17)
    assert (made.shards, made.finished_shards, made.finished_clips, made.clips_left) == (7, 7, 17, 0)
    (out / "shards" / "val-000001.tar").unlink()
    made = expected(out, clips=17)
    assert (made.finished_shards, made.finished_clips, made.clips_left) == (6, 16, 1)


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
