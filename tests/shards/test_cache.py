"""The size limit of the cache of shards behind a URL, among several processes."""

import os
import uuid
from pathlib import Path

import pytest
from stgcma.shards import cache as caching
from stgcma.shards.cache import ShardCache, open_kept
from stgcma.shards.storage import open_store

SIZE = 1000
FOLDER = "0123456789abcdef0123"


@pytest.fixture
def store():
    """Six shards of a thousand bytes."""
    store = open_store(f"memory://{uuid.uuid4().hex}")
    for name in "abcdef":
        store.publish(shard(name), name.encode() * SIZE)
    return store


@pytest.fixture
def read(store, tmp_path):
    """`read(NAME, LIMIT)` reads a shard from the cache and returns the names that the cache then has."""
    clock = iter(range(1_000_000_000, 1_000_001_000))

    def read(name, limit=3 * SIZE):
        cache = ShardCache(tmp_path / FOLDER, tmp_path, limit)
        with open_kept(store, shard(name), cache) as stream:
            assert stream.read() == name.encode() * SIZE
            os.utime(stream.fileno(), (now := next(clock), now))
        return names(tmp_path)

    return read


def shard(name):
    return f"train-{ord(name):06d}.tar"


def names(folder):
    return "".join(sorted(chr(int(path.stem[-6:])) for path in Path(folder).rglob("*.tar")))


def held_by_a_child(store, cache, name):
    """Open a shard in another process; return a function that ends it."""
    opened, ready = os.pipe()
    waiting, over = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with open_kept(store, shard(name), cache) as stream:
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
    end = held_by_a_child(store, ShardCache(tmp_path / FOLDER, tmp_path, 3 * SIZE), "a")
    os.utime(tmp_path / FOLDER / shard("a"), (1, 1))  # the oldest
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
    cache = ShardCache(tmp_path / FOLDER, tmp_path, 3 * SIZE)
    assert read("a") + read("b") == "aab"
    with caching._reserved(cache, tmp_path / FOLDER / f".{shard('c')}.x.size", SIZE):
        assert read("d") == "bd"
    assert read("e") == "bde"
    (tmp_path / FOLDER / f".{shard('f')}.x.size").write_bytes(bytes(SIZE))  # of a process that was killed
    assert read("e") == "bde"


def test_files_of_the_limit_are_not_left(read, tmp_path):
    read("a")
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {shard("a"), ".lock"}


def test_files_that_are_not_of_a_cache_are_never_removed(read, tmp_path):
    for name in (
        "thesis.tex",
        "thesis/train-000001.tar",
        f"{FOLDER}/notes.txt",
        f"{FOLDER}x/train-000001.tar",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(5 * SIZE))
        os.utime(tmp_path / name, (1, 1))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "train-000002.tar").write_bytes(bytes(5 * SIZE))
    (tmp_path / FOLDER / "linked").symlink_to(tmp_path / "other")
    (tmp_path / ("f" * 20)).symlink_to(tmp_path / "other")
    before = set(tmp_path.rglob("*"))
    read("a", SIZE)
    read("b", SIZE)
    assert before <= set(tmp_path.rglob("*"))
    assert not (tmp_path / FOLDER / shard("a")).exists()


def test_what_a_killed_process_was_fetching_is_removed(read, tmp_path):
    read("a")
    part, whole = f".{shard('f')}.abc123", f".{shard('e')}.abc123"
    for name in (part, f"{part}.size", whole):
        (tmp_path / FOLDER / name).write_bytes(bytes(SIZE))
    read("b")
    left = {path.name for path in (tmp_path / FOLDER).iterdir()}
    # Of a process without a limit nothing tells whether it is still at work.
    assert left == {shard("a"), shard("b"), whole}
