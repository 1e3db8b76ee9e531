"""The commands of columns, on real clips."""

import json

import pytest
from stgcma.preprocess import Options, preprocess
from stgcma.shards.columns import read_column
from stgcma.shards.manifest import read_dataset
from stgcma.shards.reader import iterate_clips

from ..shards.conftest import directory  # noqa: F401  a fixture
from .added import add, contents


def test_what_a_directory_has_is_not_added(directory, stgcma):  # noqa: F811
    out = directory()
    for member, message in (
        ("fbank_4", "column is 'fbank_4', must be an fbank: clip, swin, fbank_128, fbank_224; tokens"),
        ("fbank_128", "is of the collection 'small', whose annotations cannot be read again"),
    ):
        result = stgcma("shards", "add-column", out, member, "--raw", out)
        assert (result.status, message in result.stderr) == (2, True), result.stderr
    result = stgcma("shards", "add-column", out, "fbank_128")
    assert (result.status, "--raw is missing: fbank_128 is made from the sound" in result.stderr) == (2, True)


def test_layers_are_indices_of_blocks(directory, stgcma):  # noqa: F811
    out = directory()
    for layers, message in (
        ("last", "--layers is 'last', must be indices of blocks from 0, such as 2,5,8,11"),
        ("2,2", "side_layers: [2, 2], expected each block once"),
    ):
        result = stgcma("shards", "add-tokens", out, "--preset", "ave-demo", "--layers", layers)
        assert (result.status, message in result.stderr) == (2, True), result.stderr


def test_columns_are_listed_and_shown(directory, stgcma):  # noqa: F811
    out = directory()
    add(out, bad=("test-0",))
    assert "column fbank_8: 6 clips, 1 quarantined" in stgcma("shards", "stats", out).stdout
    members = json.loads(stgcma("shards", "show", out, "train-0", "--json").stdout)["members"]
    assert {"name": "fbank_8.npy", "bytes": 288, "content": "float16 [2, 5, 8]"} in members
    assert "fbank_8.npy" not in stgcma("shards", "show", out, "test-0").stdout
    assert stgcma("shards", "drop-column", out, "fbank_8").stdout == f"{out}: fbank_8 removed\n"
    assert not (out / "columns" / "fbank_8").exists()


@pytest.mark.slow
def test_an_added_fbank_is_that_of_preprocessing(ave_raw, ave_shards, stgcma, tmp_path):
    out = tmp_path / "out"
    preprocess("ave", ave_raw, out, Options(features=("clip",)))
    before = contents(out)
    command = ("shards", "add-column", out, "swin", "--raw", ave_raw, "--workers", 2)
    result = stgcma(*command)
    assert result.status == 0, result.stderr
    assert before.items() <= contents(out).items()
    result = stgcma("shards", "verify", out)
    assert result.status == 0, result.stderr
    made = {key: members["fbank_224.npy"] for key, members in iterate_clips(ave_shards)}
    for key, content in made.items():
        folder = tmp_path / "clip"
        stgcma("shards", "show", out, "--out", folder, "--", key)
        assert (folder / f"{key}.fbank_224.npy").read_bytes() == content
    assert read_column(out, "fbank_224").audio == read_dataset(ave_shards).audio["fbank_224"]
    now = contents(out)
    assert "was complete already" in stgcma(*command).stderr
    assert contents(out) == now
