"""The size limit of the cache of shards behind a URL, among several processes."""

import os
import uuid
from pathlib import Path

import pytest
from stgcma.shards import cache as caching
from stgcma.shards.cache import ShardCache, open_kept
from stgcma.shards.storage import open_store

SIZE = 1000


@pytest.fixture
def store():
    """Six shards of a thousand bytes."""
    store = open_store(f"memory://{uuid.uuid4().hex}")
    for name in "abcdef":
        store.publish(f"{name}.tar", name.encode() * SIZE)
    return store


@pytest.fixture
def read(store, tmp_path):
    """`read(NAME, LIMIT)` reads a shard from the cache and returns the names that the cache then has."""
    clock = iter(range(1_000_000_000, 1_000_001_000))

    def read(name, limit=3 * SIZE):
        cache = ShardCache(tmp_path / "data", tmp_path, limit)
        with open_kept(store, f"{name}.tar", cache) as stream:
            assert stream.read() == name.encode() * SIZE
            os.utime(stream.fileno(), (now := next(clock), now))
        return names(tmp_path)

    return read


def names(folder):
    return "".join(sorted(path.stem for path in Path(folder).rglob("*.tar")))


def held_by_a_child(store, cache, name):
    """Open a shard in another process; return a function that ends it."""
    opened, ready = os.pipe()
    waiting, over = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with open_kept(store, f"{name}.tar", cache) as stream:
                os.write(ready, b"1")
                os.read(waiting, 1)
                os._exit(0 if stream.read() == name.encode() * SIZE else 1)
        finally:
            os._exit(2)
    assert os.read(opened, 1) == b"1"

    def end():
        os.write(over, b"1")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        for descriptor in (opened, ready, waiting, over):
            os.close(descriptor)

    return end


def test_shards_that_were_not_read_for_longest_are_removed(read):
    assert [read(name) for name in "abcadbb"] == ["a", "ab", "abc", "abc", "acd", "abd", "abd"]
    assert read("e", 10 * SIZE) == "abde"
    assert read("f", SIZE) == "f"
    assert read("a", None) == "af"


def test_no_process_removes_a_shard_that_another_reads(read, store, tmp_path, capsys):
    caching._message_once.cache_clear()
    end = held_by_a_child(store, ShardCache(tmp_path / "data", tmp_path, 3 * SIZE), "a")
    os.utime(tmp_path / "data" / "a.tar", (1, 1))  # the oldest
    assert [read(name) for name in "bcd"] == ["ab", "abc", "acd"]
    assert capsys.readouterr().err == ""
    assert read("e", SIZE) == "ae"
    said = (
        f"the shards that are being read take 2,000 bytes of {tmp_path}, more than data.cache_bytes, 1,000\n"
    )
    assert capsys.readouterr().err == said
    end()
    assert read("f", SIZE) == "f"


def test_what_another_process_fetches_counts(read, tmp_path):
    cache = ShardCache(tmp_path / "data", tmp_path, 3 * SIZE)
    assert read("a") + read("b") == "aab"
    with caching._reserved(cache, tmp_path / "data" / ".c.tar.x.size", SIZE):
        assert read("d") == "bd"
    assert read("e") == "bde"
    (tmp_path / "data" / ".f.tar.x.size").write_bytes(bytes(SIZE))  # of a process that was killed
    assert read("e") == "bde"


def test_files_of_the_limit_are_not_left(read, tmp_path):
    read("a")
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"a.tar", ".lock"}
