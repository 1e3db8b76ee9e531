"""Shards of many clips: their number, and work inside a shard that is not lost."""

import pytest
from stgcma.errors import InputError, OtherSettingsError
from stgcma.preprocess import Options
from stgcma.preprocess.collections.specification import FeatureSettings, Sampling
from stgcma.preprocess.pipeline import build as building
from stgcma.preprocess.pipeline import shard_chunks
from stgcma.preprocess.pipeline.output import OutputFolder
from stgcma.preprocess.pipeline.shard_plan import default_clips_per_shard
from stgcma.shards.manifest import read_dataset, read_quarantine
from stgcma.shards.storage import LocalStore

from . import stand_in
from .killing import check_kills, check_random_kills, random_kills
from .stand_in import StandIn, build, contents, faults

LARGE = {"clips_per_shard": 20, "clips": 20}


class StoppedError(Exception):
    pass


def stop(*_, **__):
    raise StoppedError


@pytest.fixture
def made(monkeypatch):
    """Keys of the clips that are decoded; `made.stop = KEY` stops a run there."""

    class Made(list):
        stop = None

    keys, make = Made(), StandIn.__call__

    def noted(self, clip):
        if clip.key == keys.stop:
            raise StoppedError
        keys.append(clip.key)
        return make(self, clip)

    monkeypatch.setattr(StandIn, "__call__", noted)
    monkeypatch.setattr(stand_in.ClipMaker, "__call__", lambda self, clip: self.make(clip))
    return keys


def stopped(out, raw, made, at, **options):
    made.stop = at
    with pytest.raises(StoppedError):
        build(out, raw, **options)
    made.stop = None
    done = list(made)
    made.clear()
    return done


def test_a_run_that_was_stopped_within_a_shard_loses_less_than_a_chunk(tmp_path, raw, made):
    """Of the 12 clips of train, clip-5 fails; chunks are of 4."""
    build(tmp_path / "whole", raw, **LARGE)
    made.clear()
    out = tmp_path / "out"
    done = stopped(out, raw, made, "clip-17", chunk=4, **LARGE)
    assert len(done) == 11
    assert len(list((out / ".progress" / "chunks" / "train-000000.tar").iterdir())) == 2
    build(out, raw, chunk=4, **LARGE)
    assert made[:4] == ["clip-12", "clip-15", "clip-16", "clip-17"]
    assert not {"clip-0", "clip-5"} & set(made)
    assert contents(out) == contents(tmp_path / "whole")


def test_what_failed_in_a_chunk_is_tried_again_on_request(tmp_path, raw, made):
    out = tmp_path / "out"
    stopped(out, raw, made, "clip-17", chunk=4, **LARGE)
    (raw / "clip-5.bad").unlink()
    build(out, raw, chunk=4, retry_quarantined=True, **LARGE)
    assert made[:3] == ["clip-5", "clip-12", "clip-15"]
    build(tmp_path / "whole", raw, **LARGE)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("chunk", [5, 32, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 11, 12))])
def test_the_size_of_chunks_changes_no_byte(tmp_path, raw, chunk):
    build(tmp_path / "whole", raw, **LARGE)
    build(tmp_path / "out", raw, chunk=chunk, workers=2, serial=False, **LARGE)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_chunk_is_written_after_a_minute(tmp_path, raw, made, monkeypatch):
    monkeypatch.setattr(shard_chunks, "CHUNK_SECONDS", 0.0)
    out = tmp_path / "out"
    stopped(out, raw, made, "clip-17", chunk=11, **LARGE)
    assert len(list((out / ".progress" / "chunks" / "train-000000.tar").iterdir())) == 11


def test_a_shard_of_one_chunk_has_none(tmp_path, raw, monkeypatch):
    written = []
    published = LocalStore.published

    def noted(store, name):
        written.append(store.where(name))
        return published(store, name)

    monkeypatch.setattr(LocalStore, "published", noted)
    build(tmp_path / "out", raw, **LARGE)
    assert not [name for name in written if "chunks" in name]
    build(tmp_path / "other", raw, chunk=4, **LARGE)
    assert len([name for name in written if "chunks" in name]) == 3


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty", "no JSON", "of another clip"])
def test_a_damaged_chunk_is_not_used(tmp_path, raw, made, harm):
    build(tmp_path / "whole", raw, **LARGE)
    made.clear()
    out = tmp_path / "out"
    stopped(out, raw, made, "clip-17", chunk=4, **LARGE)
    path = out / ".progress" / "chunks" / "train-000000.tar" / "000000"
    content = path.read_bytes()
    head = content.index(b"\n")
    path.write_bytes(
        {
            "cut": content[:-5000],
            "flipped": content[: head + 3000] + b"?" + content[head + 3001 :],
            "empty": b"",
            "no JSON": b"[" * 100,
            "of another clip": content.replace(b'"clip-0"', b'"clip-9"'),
        }[harm]
    )
    build(out, raw, chunk=4, **LARGE)
    assert contents(out) == contents(tmp_path / "whole")
    assert ("clip-0" in made) == (harm != "cut")


@pytest.mark.parametrize("chunk", [4, 32])
@pytest.mark.parametrize("finished", [True, False])
def test_a_retry_that_is_killed_before_its_record_loses_no_clip(tmp_path, raw, monkeypatch, chunk, finished):
    """The new file is in place, then all sources disappear."""
    options = {"clips": 42, "chunk": chunk, "clips_per_shard": 26}
    out = tmp_path / "out"
    build(out, raw, **options)
    if not finished:
        monkeypatch.setattr(building, "finish", stop)
        (out / "shards" / "val-000000.tar").unlink()
        with pytest.raises(StoppedError):
            build(out, raw, **options)
        monkeypatch.undo()
    (raw / "clip-5.bad").unlink()
    build(tmp_path / "whole", raw, **options)
    record = OutputFolder.record
    monkeypatch.setattr(
        OutputFolder,
        "record",
        lambda output, result: stop() if result.split == "train" else record(output, result),
    )
    with pytest.raises(StoppedError):
        build(out, raw, retry_quarantined=True, **options)
    monkeypatch.undo()
    for number in range(42):
        (raw / f"clip-{number}.bad").touch()
    build(out, raw, **options)
    assert contents(out) == contents(tmp_path / "whole")


def test_parts_and_additions_have_chunks_too(tmp_path, raw, made):
    options = {"clips_per_shard": 20, "chunk": 4}
    for name in ("out", "whole"):
        build(tmp_path / name, raw, clips=5, **options)
    build(tmp_path / "whole", raw, append=True, **options)
    made.clear()
    stopped(tmp_path / "out", raw, made, "clip-21", append=True, part=(2, 3), **options)
    (tmp_path / "out" / "shards" / ".train-000001.tar.partial").touch()
    build(tmp_path / "out", raw, append=True, **options)
    assert "clip-5" not in made
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_an_addition_may_have_shards_of_another_size(tmp_path, raw):
    out = tmp_path / "out"
    build(out, raw, clips=12)
    build(out, raw, clips=43, append=True, clips_per_shard=10)
    info = read_dataset(out)
    assert [addition.clips_per_shard for addition in info.additions] == [4, 10]
    assert info.features["clips_per_shard"] == 4
    assert [addition.shards["train"].count for addition in info.additions] == [2, 2]
    assert faults(out) == ()
    assert build(out, raw, clips=43, append=True, clips_per_shard=7).was_complete
    (raw / "clip-42.bad").unlink()
    build(out, raw, clips=43, retry_quarantined=True)
    assert [row.key for row in read_quarantine(out)] == ["clip-5"]


def test_the_size_is_that_of_the_directory_unless_it_is_given(tmp_path, raw):
    out = tmp_path / "out"
    build(out, raw, clips=12)
    assert build(out, raw, clips=12, clips_per_shard=None).was_complete
    stand_in.unfinish(out)
    build(out, raw, clips=12, clips_per_shard=None)
    with pytest.raises(OtherSettingsError, match=r"features\.clips_per_shard is 4 there, 5 here"):
        build(out, raw, clips=12, clips_per_shard=5)


@pytest.mark.parametrize(
    ("clips", "features", "expected"),
    [
        (20_000, ("clip", "swin"), 32),
        # 10 frames of 20 kB, 10 windows of 102 × 128 and 224 × 224 values of 2 bytes: 1.46 MB a clip.
        (20_001, ("clip", "swin"), 128),
        (1_000_000, ("clip", "swin"), 128),
        (1_000_000, ("clip",), 512),  # 0.46 MB a clip, 236 MB a shard
    ],
)
def test_shards_of_a_large_collection_are_of_some_hundred_megabytes(clips, features, expected):
    settings = FeatureSettings(Sampling(10, "evenly", "crop", 10, 1.0), features)
    assert default_clips_per_shard(clips, settings.to_json()) == expected


def test_a_size_below_one_is_refused():
    with pytest.raises(InputError, match="clips_per_shard is 0, must be at least 1"):
        Options(clips_per_shard=0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_anywhere_within_a_shard(finish, tmp_path, raw):
    check_kills(finish, tmp_path, raw, True, "--clips-per-shard", 20, "--chunk", 2, operations=40)


@random_kills
def test_killed_at_random_within_a_shard_that_is_tried_again(finish, tmp_path, raw, kills):
    build(tmp_path / "before", raw, clips=12, clips_per_shard=20)
    (raw / "clip-5.bad").unlink()
    options = ("--clips-per-shard", 20, "--chunk", 2, "--retry-quarantined")
    check_random_kills(finish, tmp_path, raw, kills, *options)
