"""Columns that are added, killed, completed and dropped; their members are made up."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
from stgcma.columns import add_fbank, drop_column
from stgcma.errors import InputError, OtherSettingsError
from stgcma.shards.column_reader import ColumnReader
from stgcma.shards.columns import column_names, read_column
from stgcma.shards.locking import exclusive
from stgcma.shards.manifest import read_manifest
from stgcma.shards.members import read_array
from stgcma.shards.reader import clip_places
from stgcma.shards.schema import SHARD_FOLDER, content_sha256
from stgcma.shards.storage import open_store
from stgcma.shards.verification import verify

from ..shards.conftest import directory, make_sample  # noqa: F401  a fixture
from .added import SETTINGS, add, array_of, contents

PROGRAM = Path(__file__).with_name("added.py")


@pytest.fixture
def out(directory):  # noqa: F811
    return directory()


@pytest.mark.parametrize(
    ("kills", "more"),
    [
        (4, ()),
        pytest.param(100, ("--every",), marks=(pytest.mark.slow, pytest.mark.timeout(900))),
        pytest.param(100, ("--every", "--completing"), marks=(pytest.mark.slow, pytest.mark.timeout(900))),
    ],
    ids=["few", "many", "completing"],
)
def test_killed_anywhere_it_ends_with_the_same_bytes(tmp_path, kills, more):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, PROGRAM, tmp_path, str(kills), "5", *more]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    result = json.loads(found.stdout)
    assert result["different"] == []
    assert result["random"] == kills
    assert result["operations"] > 40


def test_members_are_those_of_the_keys_and_nothing_else_changes(out):
    before = contents(out)
    added = add(out)
    assert (added.written, added.quarantined, added.was_complete) == (7, 0, False)
    reader = ColumnReader(out, "fbank_8")
    for place in clip_places(read_manifest(out)):
        (name, content), *more = reader.read(place.key, check=True).items()
        assert (name, more) == ("fbank_8.npy", [])
        assert np.array_equal(read_array(content, name), array_of(place.key))
    reader.close()
    training = np.concatenate([array_of(f"train-{n}").ravel() for n in range(4)]).astype(np.float64)
    assert added.info.audio.mean == pytest.approx(training.mean(), rel=1e-12)
    assert added.info.audio.std == pytest.approx(training.std(), rel=1e-9)
    now = contents(out)
    assert before.items() <= now.items()
    new = now.keys() - before.keys() - {"columns/index.json"}
    assert all(name.startswith("columns/fbank_8/") for name in new)
    assert verify(out).faults == ()
    assert column_names(out) == ["fbank_8"]
    assert add(out).was_complete
    assert contents(out) == now
    drop_column(out, "fbank_8")
    assert contents(out) == before


def test_clips_that_cannot_be_made_are_counted_and_tried_again(out):
    made = []
    assert add(out, bad=("train-1", "val_0"), made=made).failures == {"changed": 2}
    reader = ColumnReader(out, "fbank_8")
    places = clip_places(read_manifest(out))
    assert dict(zip([place.key for place in places], reader.has(places), strict=True)) == {
        place.key: place.key not in ("train-1", "val_0") for place in places
    }
    assert not (out / "columns" / "fbank_8" / "val-000000.tar").exists()
    assert verify(out).faults == ()
    made.clear()
    assert add(out, made=made).was_complete
    assert made == []
    assert add(out, made=made, retry_quarantined=True).failures == {}
    assert made == ["train-000000.tar", "val-000000.tar"]
    assert verify(out).faults == ()


def test_a_column_of_a_directory_that_grew_is_completed(directory):  # noqa: F811
    samples = [make_sample(f"train-{number}") for number in range(3)]
    out, grown = (
        directory({("train", 0): samples}),
        directory({("train", 0): samples, ("train", 1): [make_sample("new-1")]}, name="grown"),
    )
    add(out)
    shutil.copytree(out / "columns", grown / "columns")
    reader = ColumnReader(grown, "fbank_8")
    with pytest.raises(
        InputError, match=r"lacks 1 clips, of train-000001\.tar, .*add-column .* fbank_8 --raw RAW"
    ):
        reader.has(clip_places(read_manifest(grown)))
    (fault,) = verify(grown).faults
    assert "train-000001.tar: does not hold the clips of shards/train-000001.tar" in str(fault)
    made = []
    assert add(grown, made=made).written == 4
    assert made == ["train-000001.tar"]
    assert verify(grown).faults == ()


@pytest.mark.parametrize("version", ["0.1", "0.1-format-2"])
@pytest.mark.parametrize("name", ["ave", "avs-s4", "music-avqa"])
def test_directories_of_earlier_versions_get_columns(earlier_shards, tmp_path, version, name):
    out = tmp_path / "out"
    shutil.copytree(earlier_shards / version / name, out)
    before = contents(out)
    assert add(out).written == 4
    reader = ColumnReader(out, "fbank_8")
    places = clip_places(read_manifest(out))
    assert reader.has(places) == [True] * 4
    content = reader.read(places[0].key, check=True)["fbank_8.npy"]
    assert np.array_equal(read_array(content, "fbank_8.npy"), array_of(places[0].key))
    reader.close()
    assert verify(out).faults == ()
    assert before.items() <= contents(out).items()
    drop_column(out, "fbank_8")
    assert contents(out) == before


def test_a_clip_that_was_made_again_needs_its_column_again(directory):  # noqa: F811
    out = directory({("train", 0): [make_sample("one"), make_sample("two")]})
    other = directory({("train", 0): [make_sample("one"), make_sample("two", seed=1)]}, name="other")
    add(out)
    shutil.copytree(out / "columns", other / "columns")
    with pytest.raises(InputError, match="lacks 1 clips"):
        ColumnReader(other, "fbank_8").has(clip_places(read_manifest(other)))
    made = []
    add(other, made=made)
    assert made == ["train-000000.tar"]


@pytest.mark.parametrize("damage", ["cut", "gone", "table"])
def test_damaged_shards_are_made_again(out, damage):
    add(out)
    wanted = contents(out)
    folder = out / "columns" / "fbank_8"
    shard, table = folder / "train-000000.tar", folder / "clips.parquet"
    if damage == "cut":
        shard.write_bytes(shard.read_bytes()[:-1])
    elif damage == "gone":
        shard.unlink()
    else:
        table.write_bytes(table.read_bytes()[:-9])
    assert verify(out).faults
    made = []
    assert not add(out, made=made).was_complete
    assert len(made) == (4 if damage == "table" else 1)
    assert contents(out) == wanted


def test_every_flipped_byte_is_found(out):
    add(out)
    rng = np.random.default_rng(1)
    for path in sorted((out / "columns" / "fbank_8").iterdir()):
        content = bytearray(path.read_bytes())
        for at in rng.integers(len(content), size=3):
            content[at] ^= 255
            path.write_bytes(content)
            assert any(path.name in fault.file for fault in verify(out).faults), (path.name, at)
            content[at] ^= 255
        path.write_bytes(content)
    assert verify(out).faults == ()


def test_other_settings_are_refused(out):
    add(out)
    with pytest.raises(InputError, match="holds fbank_8 of other settings; drop it with"):
        add(out, settings=SETTINGS | {"more": 1})


def test_other_versions_of_the_tools_are_refused(out, monkeypatch):
    add(out)
    before = contents(out)
    monkeypatch.setattr("tests.columns.added.VERSIONS", {"numpy": "2"})
    with pytest.raises(OtherSettingsError, match="was begun with numpy 1, here is 2: clips may differ"):
        add(out)
    assert contents(out) == before


def test_an_unfinished_column_is_no_column(out, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("stgcma.columns.output.ColumnOutput._finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            add(out)
    assert read_column(out, "fbank_8") is None
    with pytest.raises(InputError, match="has no column fbank_8; add it with"):
        ColumnReader(out, "fbank_8")
    assert "is left by an add-column that has not ended" in str(verify(out).faults[0])
    made = []
    add(out, made=made)
    assert made == []
    assert verify(out).faults == ()


def test_an_object_store_gets_the_same_bytes(out):
    store = open_store(f"memory://columns-{uuid.uuid4().hex}/out")
    for name, content in contents(out).items():
        store.publish(name, content)
    bad = ("train-1", "val_0")
    for location in (out, store.location):
        add(location, bad=bad)
    wanted = contents(out)
    assert {name: store.read(name, most_bytes=1 << 30) for name in store.names()} == wanted
    reader = ColumnReader(store.location, "fbank_8", ahead_bytes=1 << 16)
    assert read_array(reader.read("train-0", check=True)["fbank_8.npy"], "fbank_8.npy").shape == (2, 5, 8)
    reader.close()
    assert verify(store.location).faults == ()
    made = []
    assert add(store.location, made=made, retry_quarantined=True).failures == {}
    assert made == ["train-000000.tar", "val-000000.tar"]
    drop_column(store.location, "fbank_8")
    assert not [name for name in store.names() if name.startswith("columns/")]


def test_one_process_writes_at_a_time(out):
    with exclusive(open_store(out)), pytest.raises(InputError, match="is being written by another process"):
        add(out)


@pytest.mark.parametrize("member", ["../shards", "a b", "", "Fbank", "a/b"])
def test_names_cannot_lead_elsewhere(out, member):
    with pytest.raises(InputError, match="must match"):
        add(out, member=member)
    with pytest.raises(InputError, match="must match"):
        drop_column(out, member)
    assert (out / SHARD_FOLDER).is_dir()


def test_what_is_not_there_is_not_dropped(out):
    with pytest.raises(InputError, match="has no column fbank_8"):
        drop_column(out, "fbank_8")


def rewritten(path, **fields):
    """Change fields of `column.json`, with a hash that fits."""
    content = json.loads(path.read_text()) | fields
    del content["content_sha256"]
    path.write_text(json.dumps(content | {"content_sha256": content_sha256(content)}))


def test_a_column_of_a_later_version_is_left_alone(out):
    add(out)
    rewritten(out / "columns" / "fbank_8" / "column.json", column_version=2)
    before = contents(out)
    with pytest.raises(InputError, match="column_version is 2, this stgcma reads 1; use the version"):
        add(out)
    assert contents(out) == before
    drop_column(out, "fbank_8")


def test_a_damaged_description_is_made_again(out):
    add(out)
    wanted = contents(out)
    path = out / "columns" / "fbank_8" / "column.json"
    path.write_bytes(path.read_bytes()[:-20])
    assert not add(out).was_complete
    assert contents(out) == wanted


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"settings": {"kind": "fbank"}}, "settings.fbank.mel_bins is NoneType"),
        (
            {"settings": {"kind": "fbank", "fbank": {"mel_bins": 8, "target_frames": "6"}}},
            "target_frames is str",
        ),
        ({"files": {"quarantine.parquet": "0"}}, r"files is of quarantine\.parquet"),
        ({"counts": {}}, "counts is of nothing"),
        ({"column_version": "1"}, "column_version is '1'"),
    ],
)
def test_a_description_with_other_fields_is_refused(out, fields, message):
    add(out)
    rewritten(out / "columns" / "fbank_8" / "column.json", **fields)
    with pytest.raises(InputError, match=rf"column\.json is damaged: .*{message}"):
        ColumnReader(out, "fbank_8")


def test_repair_makes_only_damaged_shards_again(out):
    add(out, bad=("val_0",))
    wanted = contents(out)
    shard = out / "columns" / "fbank_8" / "train-000000.tar"
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(content)
    made = []
    assert add(out, made=made, bad=("val_0",)).was_complete
    (fault,) = verify(out).faults
    assert str(fault).endswith("give its command again with --repair")
    assert not add(out, made=made, bad=("val_0",), repair=True).was_complete
    assert made == ["train-000000.tar"]
    assert contents(out) == wanted
    assert add(out, made=made, bad=("val_0",), repair=True).was_complete


def test_a_table_that_was_exchanged_is_not_used(out, directory):  # noqa: F811
    other = directory(name="other")
    add(out)
    wanted = contents(out)
    add(other, bad=("train-1",))
    for name in ("clips.parquet", "quarantine.parquet"):
        shutil.copy(other / "columns" / "fbank_8" / name, out / "columns" / "fbank_8")
    shutil.copy(other / "columns" / "fbank_8" / "train-000000.tar", out / "columns" / "fbank_8")
    assert not add(out).was_complete
    assert contents(out) == wanted


def test_files_that_are_not_of_a_column_are_extra(out):
    add(out)
    for name in ("x/y", "notes.txt"):
        path = out / "columns" / "fbank_8" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    assert sorted(map(str, verify(out).faults)) == [
        "columns/fbank_8/notes.txt: is extra",
        "columns/fbank_8/x/y: is extra",
    ]


def test_a_store_that_shows_partial_files_is_not_written(out, monkeypatch):
    store = open_store(f"memory://columns-{uuid.uuid4().hex}/out")
    for name, content in contents(out).items():
        store.publish(name, content)
    monkeypatch.setattr("stgcma.shards.object_store.REAL_FOLDERS", {"memory"})
    with pytest.raises(InputError, match="over memory a file is seen before it is whole"):
        add(store.location)
    with pytest.raises(InputError, match="over memory a file is seen before it is whole"):
        drop_column(store.location, "fbank_8")


def test_an_alias_is_dropped(out):
    add(out, member="fbank_224")
    drop_column(out, "swin")
    assert column_names(out) == []


def test_a_column_clip_has_the_bound_of_a_clip(out, monkeypatch):
    monkeypatch.setattr("stgcma.shards.column_writer.MOST_CLIP_BYTES", 1000)
    with pytest.raises(InputError, match="takes 1024 bytes, at most 1000 are read"):
        add(out)


def test_a_collection_that_opens_recordings_needs_a_folder(directory, monkeypatch, tmp_path):  # noqa: F811
    out = directory(collection="events")
    opened = contextlib.nullcontext((tmp_path, "memory://raw"))
    monkeypatch.setattr("stgcma.columns.fbank.opened_raw", lambda *_: opened)
    with pytest.raises(InputError, match=r"RAW memory://raw is a URL; events reads the lengths"):
        add_fbank(out, "fbank_128", raw="memory://raw")
