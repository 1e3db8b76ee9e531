"""Order of the operations on the disk: a power cut leaves whole files under their names."""

import os
from pathlib import Path

import pytest
from stgcma.errors import StgcmaError
from stgcma.shards.cache import ShardCache, open_kept
from stgcma.shards.files import publish, published
from stgcma.shards.storage import LocalStore, ObjectStore


@pytest.fixture
def calls(monkeypatch):
    """The calls that count, as they are made: fsync with what then is in the file, rename, unlink, rmtree."""
    made = []
    fsync, replace, unlink = os.fsync, Path.replace, Path.unlink

    def synced(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        made.append(("sync", path.name, path.read_bytes() if path.is_file() else "folder"))
        fsync(descriptor)

    def renamed(path, target):
        made.append(("rename", path.name, Path(target).name))
        return replace(path, target)

    def removed(path, **options):
        made.append(("remove", path.name))
        unlink(path, **options)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    monkeypatch.setattr(Path, "unlink", removed)
    return made


def fail(publishing):
    with publishing as stream:
        stream.write(b"content")
        raise RuntimeError("decoder broke")


def test_a_file_is_written_synced_renamed_and_its_folder_synced(tmp_path, calls):
    publish(tmp_path / "a.json", b"content")
    assert calls == [
        ("sync", ".a.json.partial", b"content"),
        ("rename", ".a.json.partial", "a.json"),
        ("sync", tmp_path.name, "folder"),
    ]


def test_a_store_publishes_in_the_same_way(tmp_path, calls):
    with LocalStore(tmp_path).published("shards/a.tar") as stream:
        stream.write(b"content")
        assert list((tmp_path / "shards").iterdir()) == [tmp_path / "shards" / ".a.tar.partial"]
    assert [call[:2] for call in calls] == [
        ("sync", ".a.tar.partial"),
        ("rename", ".a.tar.partial"),
        ("sync", "shards"),
    ]


def test_what_fails_is_neither_synced_nor_renamed(tmp_path, calls):
    with pytest.raises(RuntimeError, match="decoder broke"):
        fail(published(tmp_path / "a.tar"))
    assert calls == [("remove", ".a.tar.partial")]
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_removed_stays_removed(tmp_path, calls):
    LocalStore(tmp_path).publish("part/a.json", b"content")
    calls.clear()
    LocalStore(tmp_path).remove_folder("part")
    assert calls == [("sync", tmp_path.name, "folder")]
    assert not list(tmp_path.iterdir())


def test_an_object_is_put_when_all_of_it_is_written(monkeypatch):
    store = ObjectStore("memory://durability")
    put = []
    monkeypatch.setattr(store.filesystem, "put_file", lambda path, _: put.append(Path(path).read_bytes()))
    with pytest.raises(RuntimeError, match="decoder broke"):
        fail(store.published("a"))
    store.publish("a", b"content")
    assert put == [b"content"]


def test_a_shard_is_kept_when_all_of_it_is_fetched(tmp_path, monkeypatch):
    store = ObjectStore("memory://kept")
    store.publish("a.tar", b"whole content")

    def cut_short(name, target):
        target.write_bytes(b"half")
        raise StgcmaError(f"{name} cannot be reached")

    with monkeypatch.context() as broken:
        broken.setattr(store, "fetch", cut_short)
        with pytest.raises(StgcmaError, match="cannot be reached"):
            open_kept(store, "a.tar", ShardCache(tmp_path, tmp_path))
    assert not list(tmp_path.iterdir())
    with open_kept(store, "a.tar", ShardCache(tmp_path, tmp_path)) as stream:
        assert stream.read() == b"whole content"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.tar"]
