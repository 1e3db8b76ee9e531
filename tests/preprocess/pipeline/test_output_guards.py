"""Guards against a directory that only seems finished."""

import pytest
from stgcma.errors import StgcmaError
from stgcma.preprocess.pipeline.finishing import finish
from stgcma.preprocess.pipeline.output import OutputFolder, open_output
from stgcma.preprocess.pipeline.shard_result import ShardResult
from stgcma.shards.locking import Lock
from stgcma.shards.schema import ClipRecord
from stgcma.shards.storage import LocalStore

from .stand_in import build, contents


def result(size):
    record = ClipRecord("a", "train", "train-000000.tar", size, "", "a.mp4", 1.0, 25.0, True, "pyav", ())
    return ShardResult("train", 0, (record,), (), {})


class LostLock(Lock):
    def check(self):
        raise StgcmaError("OUT was taken over by another process; wait for it")


def test_who_lost_the_lock_records_no_shard(tmp_path):
    output = OutputFolder(LocalStore(tmp_path), LostLock())
    whole = result(512)
    LocalStore(tmp_path).publish("shards/train-000000.tar", bytes(whole.bytes))
    with pytest.raises(StgcmaError, match="taken over by another process"):
        output.record(whole)
    assert list(contents(tmp_path)) == ["shards", "shards/train-000000.tar"]


def test_who_lost_the_lock_writes_no_table(tmp_path, raw):
    info = build(tmp_path / "made", raw).info
    (tmp_path / "out").mkdir()
    output = OutputFolder(LocalStore(tmp_path / "out"), LostLock())
    with pytest.raises(StgcmaError, match="taken over by another process"):
        finish(output, info, ())
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize("written", [None, 1, 10241], ids=["missing", "cut", "grown"])
def test_a_shard_that_is_not_in_place_is_not_recorded(tmp_path, written):
    whole = result(512)
    with open_output(tmp_path) as output:
        if written is not None:
            LocalStore(tmp_path).publish("shards/train-000000.tar", bytes(written))
        with pytest.raises(StgcmaError, match=r"train-000000\.tar was written, but is not there"):
            output.record(whole)
        assert not (tmp_path / ".progress").exists()
        LocalStore(tmp_path).publish("shards/train-000000.tar", bytes(whole.bytes))
        output.record(whole)
        assert output.finished() == {("train", 0): whole}


def test_files_appear_in_the_order_that_makes_a_directory_whole(tmp_path, raw, monkeypatch):
    """The plan first; a shard before its record; the tables before dataset.json; then only cleaning."""
    published, remove_folder = LocalStore.published, LocalStore.remove_folder
    order = []

    def noted(store, name):
        order.append(name)
        return published(store, name)

    def removed(store, name):
        order.append(f"without {name}")
        remove_folder(store, name)

    monkeypatch.setattr(LocalStore, "published", noted)
    monkeypatch.setattr(LocalStore, "remove_folder", removed)
    build(tmp_path / "out", raw, clips=5)
    assert order == [
        "without .progress",
        ".progress/plan.json",
        "train-000000.tar",
        ".progress/train-000000.tar.json",
        "val-000000.tar",
        ".progress/val-000000.tar.json",
        "test-000000.tar",
        ".progress/test-000000.tar.json",
        "manifest.parquet",
        "quarantine.parquet",
        "dataset.json",
        "without .progress",
    ]
