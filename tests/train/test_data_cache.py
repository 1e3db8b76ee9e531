"""Shards behind a URL, and the local cache of them."""

import errno
import tempfile
import uuid

import fsspec
import pytest
import torch
from stgcma.errors import StgcmaError

from .conftest import load


@pytest.fixture
def url(four_clips):
    """The shards behind a URL."""
    memory = fsspec.filesystem("memory")
    root = f"/{uuid.uuid4().hex}"
    memory.put(str(four_clips), root, recursive=True)
    yield f"memory:/{root}"
    memory.rm(root, recursive=True)


def test_a_url_gives_the_same_clips_from_a_local_cache(dataset, four_clips, url, tmp_path):
    expected = load(dataset(four_clips))
    found = load(dataset(url, cache=str(tmp_path)))
    assert [batch.keys for batch in found] == [batch.keys for batch in expected]
    assert torch.equal(found[0].inputs["video"], expected[0].inputs["video"])
    kept = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert kept == ["train-000000.tar"]
    again = dataset(url, cache=str(tmp_path))
    fsspec.filesystem("memory").rm(url.removeprefix("memory:/") + "/shards/train-000000.tar")
    assert [batch.keys for batch in load(again)] == [batch.keys for batch in expected]


@pytest.mark.parametrize("harm", ["changed", "header", "cut", "empty"])
def test_a_damaged_copy_in_the_cache_is_fetched_again(dataset, url, tmp_path, harm, capsys):
    expected = load(dataset(url, cache=str(tmp_path)))
    (copy,) = tmp_path.rglob("*.tar")
    whole = copy.read_bytes()
    content = bytearray(whole)
    content[3000 if harm == "changed" else 0] ^= 1
    copy.write_bytes({"cut": whole[:-20_000], "empty": b""}.get(harm, bytes(content)))
    found = load(dataset(url, cache=str(tmp_path), verify=harm == "changed"))
    assert [batch.keys for batch in found] == [batch.keys for batch in expected]
    assert torch.equal(found[0].inputs["video"], expected[0].inputs["video"])
    assert copy.read_bytes() == whole
    said = f"the shard cache holds a damaged copy, {copy}; it is fetched again"
    assert capsys.readouterr().err.splitlines().count(said) == 1


def test_a_shard_that_is_damaged_behind_its_url_is_named_after_one_more_try(dataset, url, tmp_path, capsys):
    memory = fsspec.filesystem("memory")
    name = url.removeprefix("memory:/") + "/shards/train-000000.tar"
    memory.pipe_file(name, memory.cat_file(name)[:40_000])
    with pytest.raises(StgcmaError, match=rf"{url}/shards/train-000000\.tar is cut: it ends within"):
        load(dataset(url, cache=str(tmp_path)))
    assert capsys.readouterr().err.count("it is fetched again") == 1


@pytest.mark.parametrize("place", ["disk", "folder"])
def test_a_cache_that_takes_no_files_is_named(dataset, url, tmp_path, monkeypatch, place):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(
        *((fsspec.filesystem("memory"), "get_file") if place == "disk" else (tempfile, "mkstemp")), full
    )
    with pytest.raises(
        StgcmaError, match=r"the shard cache takes no files: .* No space left on device"
    ) as caught:
        load(dataset(url, cache=str(tmp_path)))
    assert str(caught.value).endswith("; data.cache sets its folder")
    assert str(tmp_path) in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_url_whose_shard_is_gone_is_named(dataset, url, tmp_path):
    clips = dataset(url, cache=str(tmp_path))
    fsspec.filesystem("memory").rm(url.removeprefix("memory:/") + "/shards/train-000000.tar")
    with pytest.raises(StgcmaError, match=r"train-000000\.tar is missing, the manifest names it"):
        load(clips)
    assert not list(tmp_path.rglob("*.tar"))
