"""Shard directories behind URLs: the same files, whole or not at all, read by range."""

import os
import pickle
import uuid

import pytest
from fsspec.implementations.local import LocalFileSystem
from stgcma.errors import InputError, StgcmaError
from stgcma.shards.manifest import read_dataset, read_manifest, write_manifest
from stgcma.shards.reader import ClipReader, clip_places
from stgcma.shards.storage import LocalStore, ObjectStore, open_store
from stgcma.shards.verification import verify
from stgcma.shards.writer import write_shard

from .conftest import make_sample


@pytest.fixture
def url():
    """A folder of this process's memory that no other test has."""
    return f"memory://test-{uuid.uuid4().hex}"


def upload(folder, url):
    store = open_store(url)
    for name in open_store(folder).names():
        store.publish(name, (folder / name).read_bytes())
    return store


@pytest.mark.parametrize(
    ("given", "location"),
    [
        ("out", "out"),
        ("/a/b", "/a/b"),
        ("file:///a/b", "/a/b"),
        ("local:///a/b", "/a/b"),
        ("./-x", "-x"),
        ("a:b/c", "a:b/c"),
    ],
)
def test_paths_need_no_fsspec(given, location):
    store = open_store(given)
    assert isinstance(store, LocalStore)
    assert store.location == location


def test_a_url_that_went_through_a_path_is_mended(tmp_path):
    from pathlib import Path

    assert open_store(Path("memory://bucket/out")).location == "memory://bucket/out"
    assert isinstance(open_store(tmp_path / "c:" / "x"), LocalStore)


def test_urls_that_cannot_be_opened_say_why():
    with pytest.raises(InputError, match=r"^nonsense://x cannot be opened: .*give a path or an fsspec URL$"):
        open_store("nonsense://x")


def test_a_missing_driver_names_the_extra(monkeypatch):
    import fsspec.core

    def missing(_url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(InputError, match=r"Install s3fs to access S3; pip install 'stgcma\[s3\]'"):
        open_store("s3://bucket/out")


def test_a_directory_in_memory_reads_as_a_local_one(directory, url):
    folder = directory()
    upload(folder, url)
    assert read_dataset(url) == read_dataset(folder)
    assert read_manifest(url, split="test") == read_manifest(folder, split="test")
    places = clip_places(read_manifest(url))
    local, remote = ClipReader(folder), ClipReader(url)
    for place in places:
        assert remote.read(place, check=True) == local.read(place)
    local.close()
    remote.close()
    result = verify(url, on_total=lambda _: None, on_bytes=lambda _: None)
    assert (result.clips, result.faults) == (7, ())


def test_a_reader_fetches_the_clip_and_no_more(directory, url, monkeypatch):
    folder = directory()
    upload(folder, url)
    place = clip_places(read_manifest(url))[1]
    read = []
    store_open = ObjectStore.open

    def watched(self, name):
        stream = store_open(self, name)
        original = stream.read
        stream.read = lambda size=-1: read.append(size) or original(size)
        return stream

    monkeypatch.setattr(ObjectStore, "open", watched)
    ClipReader(url).read(place)
    assert read == [place.size_bytes]


def test_faults_are_found_behind_a_url(directory, url):
    folder = directory()
    store = upload(folder, url)
    content = bytearray(store.read("shards/val-000000.tar"))
    content[700] ^= 1
    store.publish("shards/val-000000.tar", content)
    store.publish("notes.txt", b"hello")
    store.remove("shards/train-000001.tar")
    result = verify(url, on_total=lambda _: None, on_bytes=lambda _: None)
    assert [fault.file for fault in result.faults] == [
        "notes.txt",
        "shards/train-000001.tar",
        "shards/val-000000.tar",
    ]
    with pytest.raises(StgcmaError, match=r"memory://.*/shards/train-000001\.tar is missing"):
        ClipReader(url).read(clip_places(read_manifest(url))[3])


def test_what_is_not_finished_is_not_there(url):
    def samples():
        yield make_sample("one")
        raise RuntimeError("decoder broke")

    with pytest.raises(RuntimeError, match="decoder broke"):
        write_shard(f"{url}/shards", "train", 0, samples())
    assert open_store(url).names() == []


def test_an_object_is_made_once(url):
    store = open_store(url)
    assert store.create("a", b"1")
    assert not store.create("a", b"2")
    assert store.read("a") == b"1"


def test_a_storage_that_fails_is_named(url, monkeypatch):
    store = open_store(url)

    def fail(*_, **__):
        raise RuntimeError("no route\nto host")

    monkeypatch.setattr(store.filesystem, "put_file", fail)
    with pytest.raises(StgcmaError, match=f"^{url}/a cannot be reached: no route to host$"):
        store.publish("a", b"1")


def test_what_has_real_folders_is_read_and_not_written(tmp_path):
    """fsspec's own local file system stands for SFTP and its like, which a test cannot reach."""
    (tmp_path / "a").write_bytes(b"1")
    store = open_store(f"simplecache::local://{tmp_path}")
    store.filesystem = LocalFileSystem()
    assert store.read("a") == b"1"
    with pytest.raises(InputError, match="cannot be written: over local a file is seen before it is whole"):
        store.check_writable()


def test_a_place_that_goes_missing_is_named(url, monkeypatch):
    store = open_store(url)

    def fail(*_, **__):
        raise FileNotFoundError("The specified bucket does not exist")

    monkeypatch.setattr(store.filesystem, "put_file", fail)
    with pytest.raises(StgcmaError, match=f"^{url}/a cannot be reached: The specified bucket does not exist"):
        store.publish("a", b"1")


def test_a_reader_travels_to_other_processes(directory):
    folder = directory()
    places = clip_places(read_manifest(folder))
    reader = ClipReader(folder)
    reader.read(places[0])
    again = pickle.loads(pickle.dumps(reader))
    assert again.read(places[1]) == reader.read(places[1])
    again.close()
    reader.close()


def test_a_forked_reader_has_its_own_place_in_the_file(tmp_path):
    """Loaders fork; were the open file shared, each would move the other's place in it."""
    records = write_shard(tmp_path / "shards", "train", 0, [make_sample(f"k{n}") for n in range(20)])
    write_manifest(tmp_path, records)
    places = clip_places(records)
    reader = ClipReader(tmp_path)
    reader.read(places[0])
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for _ in range(50):
                for place in places:
                    reader.read(place, check=True)
            status = 0
        finally:
            os._exit(status)
    for _ in range(50):
        for place in reversed(places):
            reader.read(place, check=True)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    reader.close()
