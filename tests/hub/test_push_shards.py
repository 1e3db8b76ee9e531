"""Shards are pushed, and read at `hf://datasets/ORG/NAME`: on a stand-in for the Hub on loopback."""

from __future__ import annotations

import json
import shutil

import pytest
from huggingface_hub import DatasetCard
from stgcma.errors import InputError
from stgcma.hub.shard_files import shard_files
from stgcma.shards.reader import iterate_clips
from stgcma.shards.storage import open_store

CLIPS = "datasets/eva/clips"
URL = "hf://datasets/eva/clips"


@pytest.fixture
def shards(clips, tmp_path):
    """The clips in a folder that also holds files which are not shards."""
    folder = shutil.copytree(clips, tmp_path / "shards")
    (folder / "notes.txt").write_text("mine")
    (folder / "shards" / "train-000009.tar").write_bytes(b"of no clip")
    (folder / "columns" / "fbank_224" / "progress").mkdir(parents=True)
    return folder


@pytest.fixture
def pushed(hub, shards, stgcma):  # noqa: ARG001
    result = stgcma("push", shards, "hf:datasets/eva/clips", "--license", "cc-by-4.0", "--json")
    assert result.status == 0, result.stderr
    return json.loads(result.stdout)


def test_shards_are_pushed_and_read_by_their_address(pushed, hub, clips, stgcma, tmp_path):
    sent = hub.files(CLIPS)
    names = {path.relative_to(clips).as_posix() for path in clips.rglob("*") if path.is_file()}
    assert sent.keys() == names | {"README.md", ".gitattributes"}
    assert all(sent[name] == (clips / name).read_bytes() for name in names)
    assert {each["file"] for each in pushed["files"]} == names | {"README.md"}

    text = sent["README.md"].decode()
    data = DatasetCard(text).data
    assert (data.license, data.task_categories) == ("cc-by-4.0", ["video-classification"])
    assert [each["split"] for each in data.configs[0]["data_files"]] == ["train", "validation", "test"]
    assert "data:not-the-published-collection" in data.tags
    for part in (
        "4 of 4,143 clips",
        "| train | 2 | 0 | 3,339 |",
        "b9273f902f904ae3",
        f"stgcma train {URL} ",
        "log-mel energies",
    ):
        assert part in text, part

    verified = stgcma("shards", "verify", URL)
    assert (verified.status, "no faults; 4 clips" in verified.stdout) == (0, True), verified.stderr
    by_name = dict(iterate_clips("hf:datasets/eva/clips", check=True))
    assert by_name == dict(iterate_clips(clips))
    assert stgcma("shards", "stats", URL, "--json").status == 0
    assert stgcma("inspect", URL, "--clips", "1", "--page", tmp_path / "page.html").status == 0


def test_the_index_of_complete_columns_is_pushed(shards):
    folder = shards / "columns" / "fbank_128"
    folder.mkdir()
    for name in ("column.json", "clips.parquet"):
        (folder / name).write_bytes(b"{}")
    files = {file.name: file for file in shard_files(shards)}
    assert json.loads(files["columns/index.json"].read()) == {"columns": ["fbank_128"]}


@pytest.mark.slow
@pytest.mark.usefixtures("pushed", "clean_cache")
def test_a_run_is_pushed_and_scored_with_shards_of_the_hub(hub, run, stgcma, clean_cache):
    scored = stgcma("push", run, "hf:eva/dogs", "--shards", "hf:datasets/eva/clips")
    assert scored.status == 0, scored.stderr
    sent = hub.files("models/eva/dogs")
    assert json.loads(sent["run.json"])["shards"] == "hf:datasets/eva/clips"
    card = sent["README.md"].decode()
    assert "datasets:\n- eva/clips\n" in card
    assert "prediction.png" in sent
    clean_cache()
    again = stgcma("evaluate", "hf:eva/dogs", "--json")
    assert again.status == 0, again.stderr
    assert json.loads(again.stdout)["stored"]["met"] is True


def test_faults_of_addresses_and_folders_are_named(hub, shards, stgcma):
    missing = stgcma("shards", "stats", "hf://datasets/eva/missing")
    assert missing.status == 2
    assert "hf://datasets/eva/missing does not exist, or is private and this account" in missing.stderr
    assert "hf auth login" in missing.stderr
    with pytest.raises(InputError, match="stgcma push OUT hf:datasets/ORG/NAME"):
        open_store(URL).check_writable()
    (shards / "shards" / "val-000000.tar").unlink()
    cut = stgcma("push", shards, "hf:datasets/eva/clips")
    assert (cut.status, "val-000000.tar is missing; `stgcma shards verify" in cut.stderr) == (2, True)
    assert CLIPS not in hub.repositories
    hub.close()
    gone = stgcma("shards", "stats", URL)
    assert (gone.status, f"{URL}/dataset.json cannot be reached" in gone.stderr) == (1, True)
