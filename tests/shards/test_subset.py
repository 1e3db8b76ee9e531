"""Directories with the clips of another that meet a condition."""

import uuid

import numpy as np
import pytest
from stgcma.errors import InputError, StgcmaError
from stgcma.shards.locking import exclusive
from stgcma.shards.manifest import read_dataset, read_manifest
from stgcma.shards.members import read_array
from stgcma.shards.reader import iterate_clips
from stgcma.shards.storage import LocalStore, open_store
from stgcma.shards.subset import write_subset
from stgcma.shards.verification import verify

from .conftest import make_sample

SOME = "key in ('train-0', 'train-2', 'val_0')"


def files(folder):
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_the_selected_clips_are_the_same_bytes(directory, tmp_path):
    out, new = directory(), tmp_path / "new"
    made = write_subset(out, new, SOME)
    assert (made.written, made.clips, made.unknown, made.was_complete) == (3, 7, 0, False)
    source = dict(iterate_clips(out))
    assert dict(iterate_clips(new, check=True)) == {k: source[k] for k in ("train-0", "train-2", "val_0")}
    rows = {record.key: record for record in read_manifest(out)}
    assert read_manifest(new) == [rows[key] for key in ("train-0", "train-2", "val_0")]
    assert verify(new).faults == ()
    assert sorted(path.name for path in new.iterdir()) == [
        "dataset.json",
        "manifest.parquet",
        "quarantine.parquet",
        "shards",
    ]


def test_counts_statistics_and_plan_are_its_own(directory, tmp_path):
    out = directory()
    info, parent = write_subset(out, tmp_path / "new", SOME).info, read_dataset(out)
    assert {split: count["written"] for split, count in info.counts.items()} == {
        "train": 2,
        "val": 1,
        "test": 0,
    }
    members = dict(iterate_clips(out))
    values = np.concatenate(
        [read_array(members[key]["fbank_4.npy"], "fbank_4.npy").ravel() for key in ("train-0", "train-2")]
    ).astype(np.float64)
    assert info.audio["fbank_4"].mean == pytest.approx(values.mean(), rel=1e-12)
    assert info.audio["fbank_4"].std == pytest.approx(values.std(), rel=1e-9)
    assert info.features["subset"] == {"of": parent.data_fingerprint, "where": SOME}
    other = write_subset(out, tmp_path / "other", "key == 'train-0'").info
    assert len({info.plan_sha256, other.plan_sha256, parent.plan_sha256}) == 3
    assert len({info.fingerprint, other.fingerprint, parent.fingerprint}) == 3


@pytest.mark.parametrize("after", range(6))
def test_an_interrupted_copy_continues_to_the_same_bytes(directory, tmp_path, monkeypatch, after):
    out, new = directory(), tmp_path / "new"
    write_subset(out, tmp_path / "whole", SOME)
    publish, published = LocalStore.published, []

    def cut(store, name):
        if len(published) == after:
            raise KeyboardInterrupt
        published.append(name)
        return publish(store, name)

    with monkeypatch.context() as patched:
        patched.setattr(LocalStore, "published", cut)
        with pytest.raises(KeyboardInterrupt):
            write_subset(out, new, SOME)
    assert not write_subset(out, new, SOME).was_complete
    assert files(new) == files(tmp_path / "whole")
    assert write_subset(out, new, SOME).was_complete
    assert files(new) == files(tmp_path / "whole")


def test_a_damaged_clip_is_not_copied(directory, tmp_path):
    out = directory()
    shard = out / "shards" / "train-000000.tar"
    content = bytearray(shard.read_bytes())
    content[600] ^= 1
    shard.write_bytes(content)
    with pytest.raises(StgcmaError, match="train-0 is damaged, its hash is not the manifest's"):
        write_subset(out, tmp_path / "new", SOME)
    assert not (tmp_path / "new" / "dataset.json").exists()


def test_other_content_is_left_alone(directory, tmp_path):
    out, new = directory(), tmp_path / "new"
    with pytest.raises(InputError, match="selects none of the 7 clips"):
        write_subset(out, new, "key == 'x'")
    new.mkdir()
    (new / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds other files \(notes\.txt, …\)"):
        write_subset(out, new, SOME)
    (new / "notes.txt").unlink()
    write_subset(out, new, SOME)
    with pytest.raises(InputError, match="holds another shard directory"):
        write_subset(out, new, "key == 'train-0'")
    with pytest.raises(InputError, match="holds another shard directory"):
        write_subset(new, out, SOME)


@pytest.mark.parametrize("below", ["", "new", "shards/new"])
def test_a_subset_is_not_written_into_its_directory(directory, below):
    out = directory()
    before = files(out)
    with pytest.raises(InputError, match=r"NEW .* is in OUT .*, which holds no other files"):
        write_subset(out, out / below, SOME)
    assert files(out) == before
    store = open_store(f"memory://subsets-{uuid.uuid4().hex}/out")
    for name, content in before.items():
        store.publish(name, content)
    with pytest.raises(InputError, match=r"NEW .* is in OUT .*, which holds no other files"):
        write_subset(store.location, f"{store.location}/{below}", SOME)
    assert write_subset(store.location, f"{store.location}-new", SOME).written == 3


def test_an_unfinished_subset_of_other_clips_is_left_alone(directory, tmp_path, monkeypatch):
    out, new = directory(), tmp_path / "new"
    with monkeypatch.context() as patched:
        patched.setattr("stgcma.shards.subset._write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_subset(out, new, SOME)
    before = files(new)
    with pytest.raises(InputError, match="holds an unfinished subset of other clips; choose another folder"):
        write_subset(out, new, "key == 'train-0'")
    assert files(new) == before


def test_the_command_says_what_it_selected(directory, tmp_path, stgcma):
    out = directory()
    result = stgcma("shards", "subset", out, tmp_path / "new", "--where", "split != 'train'")
    assert (result.status, result.stdout) == (0, "3 of 7 clips written\n"), result.stderr
    assert (
        "was complete already"
        in stgcma("shards", "subset", out, tmp_path / "new", "--where", "split != 'train'").stderr
    )


def test_one_process_writes_a_subset(directory, tmp_path):
    out, new = directory(), tmp_path / "new"
    new.mkdir()
    with exclusive(LocalStore(new)), pytest.raises(InputError, match="new"):
        write_subset(out, new, SOME)
    assert list(new.iterdir()) == []
    write_subset(out, new, SOME)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file, a folder is needed"):
        write_subset(out, tmp_path / "file", SOME)


def test_a_store_that_shows_partial_files_is_not_written(directory, monkeypatch):
    out, store = directory(), open_store(f"memory://subsets-{uuid.uuid4().hex}/new")
    with monkeypatch.context() as patched:
        patched.setattr("stgcma.shards.object_store.REAL_FOLDERS", {"memory"})
        with pytest.raises(InputError, match="over memory a file is seen before it is whole"):
            write_subset(out, store.location, SOME)
    assert store.names() == []
    assert write_subset(out, store.location, SOME).written == 3
    assert write_subset(out, store.location, SOME).was_complete
    assert verify(store.location).faults == ()


def test_a_manifest_that_changes_meanwhile_is_an_error(directory, tmp_path, monkeypatch):
    out, grown = directory(), directory({("train", 0): [make_sample("other")]}, name="grown")
    read = read_manifest(out)
    monkeypatch.setattr("stgcma.shards.subset.read_manifest", lambda _: read)
    (grown / "manifest.parquet").replace(out / "manifest.parquet")
    with pytest.raises(StgcmaError, match="the manifest was written while it was read; try again"):
        write_subset(out, tmp_path / "new", "key != 'x'")
    assert not (tmp_path / "new").exists()
