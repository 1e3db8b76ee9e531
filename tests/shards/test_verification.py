"""Whatever happens to one file of a shard directory, `verify` finds it and names that file."""

import dataclasses
import hashlib
import io
import json
import multiprocessing
import random
import shutil
import tarfile

import numpy as np
import pytest
from stgcma.errors import InputError
from stgcma.shards import shard_checks
from stgcma.shards.manifest import (
    dataset_bytes,
    read_dataset,
    read_manifest,
    read_quarantine,
    write_dataset,
    write_manifest,
    write_quarantine,
)
from stgcma.shards.schema import QuarantineRecord, content_sha256
from stgcma.shards.verification import verify
from stgcma.shards.writer import end_of_archive

from .conftest import BINS, make_sample, npy, picture

SEED = 20260917
FLIPS_A_FILE = 25
LEFT = "is left by a run that has not ended; give its command again"


def check(folder):
    return verify(folder, on_total=lambda _: None, on_bytes=lambda _: None)


def faults(folder):
    return [str(fault) for fault in check(folder).faults]


def files_at_fault(folder):
    return {fault.file for fault in check(folder).faults}


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("task", ["ave", "avs", "avqa"])
def test_a_directory_as_written_has_no_faults(directory, task):
    folder = directory(task=task)
    result = check(folder)
    assert result.faults == ()
    assert (result.shards, result.clips) == (4, 7)
    assert result.bytes == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_every_byte_is_counted_once(directory):
    folder = directory()
    totals, steps = [], []
    verify(folder, on_total=totals.append, on_bytes=steps.append)
    assert totals == [sum(steps)]


def test_any_flipped_bit_is_found_and_its_file_named(directory):
    folder = directory()
    rng = random.Random(SEED)
    for name in names(folder):
        path = folder / name
        whole = path.read_bytes()
        for position in rng.sample(range(8 * len(whole)), FLIPS_A_FILE):
            damaged = bytearray(whole)
            damaged[position // 8] ^= 1 << position % 8
            path.write_bytes(damaged)
            assert files_at_fault(folder) == {name}, f"bit {position} of {name}, {len(whole)} bytes"
        path.write_bytes(whole)
    assert faults(folder) == []


def test_any_cut_or_growth_is_found_and_its_file_named(directory):
    folder = directory()
    rng = random.Random(SEED)
    for name in names(folder):
        path = folder / name
        whole = path.read_bytes()
        lengths = {0, 1, len(whole) // 2, len(whole) - 1, *rng.sample(range(len(whole)), 6)}
        lengths |= {length for length in (512, 1024, len(whole) - 512, len(whole) - 10240) if length > 0}
        for damaged in [*(whole[:length] for length in sorted(lengths)), whole + b"\0", whole + bytes(10240)]:
            path.write_bytes(damaged)
            assert files_at_fault(folder) == {name}, f"{name} with {len(damaged)} of {len(whole)} bytes"
        path.write_bytes(whole)


def test_any_missing_file_is_named(directory):
    folder = directory()
    for name in names(folder):
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        assert files_at_fault(folder) == {name}
        (folder / name).write_bytes(kept)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("shards/train-000002.tar", "is extra, manifest.parquet does not name it"),
        ("shards/notes.txt", "is extra, manifest.parquet does not name it"),
        ("notes.txt", "is extra"),
        ("shards/more/train-000000.tar", "is extra, manifest.parquet does not name it"),
        ("shards/.train-000002.tar.partial", LEFT),
        (".progress/plan.json", LEFT),
        (".lock", LEFT),
        (".manifest.parquet.partial", LEFT),
    ],
)
def test_any_extra_file_is_named(directory, name, what):
    folder = directory()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"")
    assert faults(folder) == [f"{name}: {what}"]


def test_an_extra_empty_folder_is_named(directory):
    folder = directory()
    (folder / "shards" / "more").mkdir()
    assert faults(folder) == ["shards/more/: is extra"]


def test_swapped_files_are_named(directory):
    folder = directory()
    present = names(folder)
    for position, one in enumerate(present):
        for other in present[position + 1 :]:
            contents = (folder / one).read_bytes(), (folder / other).read_bytes()
            (folder / one).write_bytes(contents[1])
            (folder / other).write_bytes(contents[0])
            # A swapped manifest is not believed, so that what it would say of a shard is not heard.
            assert files_at_fault(folder) & {one, other}
            if "manifest.parquet" not in (one, other):
                assert files_at_fault(folder) == {one, other}
            (folder / one).write_bytes(contents[0])
            (folder / other).write_bytes(contents[1])


def test_swapped_shards_say_what_they_hold(directory):
    folder = directory()
    one, other = (folder / "shards" / f"train-00000{index}.tar" for index in (0, 1))
    contents = one.read_bytes(), other.read_bytes()
    one.write_bytes(contents[1])
    other.write_bytes(contents[0])
    assert "shards/train-000000.tar: holds train-3, which belongs in train-000001.tar" in faults(folder)
    assert "shards/train-000001.tar: holds train-0, which belongs in train-000000.tar" in faults(folder)


def test_a_file_of_another_directory_is_named(directory):
    folder = directory()
    other = directory(
        {
            (split, index): [make_sample(key, seed=1) for key in keys]
            for split, index, keys in [
                ("train", 0, ("train-0", "train-1", "train-2")),
                ("train", 1, ("train-3",)),
                ("val", 0, ("val_0",)),
                ("test", 0, ("test-0", "test-1")),
            ]
        },
        name="other",
        quarantine=[],
    )
    for name in names(folder):
        kept = (folder / name).read_bytes()
        shutil.copy(other / name, folder / name)
        assert name in files_at_fault(folder) or name == "dataset.json"
        assert files_at_fault(folder)
        (folder / name).write_bytes(kept)


def test_a_change_of_dataset_json_that_keeps_its_hash_is_found(directory):
    """Somebody edits a setting and mends the content's hash: the settings' own hash tells."""
    folder = directory()
    content = json.loads((folder / "dataset.json").read_bytes())
    content["features"]["jpeg_quality"] = 60
    content["content_sha256"] = content_sha256(content)
    (folder / "dataset.json").write_bytes(dataset_bytes(content))
    assert faults(folder) == ["dataset.json: its fingerprint is not that of its settings"]


def rewrite(folder, *, manifest=None, quarantine=None, **changes):
    """Other tables and fields, with all hashes right."""
    manifest = read_manifest(folder) if manifest is None else manifest
    quarantine = read_quarantine(folder) if quarantine is None else quarantine
    files = {
        "manifest.parquet": write_manifest(folder, manifest),
        "quarantine.parquet": write_quarantine(folder, quarantine),
    }
    write_dataset(folder, dataclasses.replace(read_dataset(folder), files=files, **changes))


def test_counts_that_disagree_are_named(directory):
    folder = directory()
    counts = {"train": {"written": 4, "quarantined": 0}, "val": {"written": 1, "quarantined": 0}}
    rewrite(folder, counts=counts | {"test": {"written": 3, "quarantined": 1}})
    assert faults(folder) == [
        "dataset.json: says 3 clips of test are written, manifest.parquet has 2",
        "dataset.json: says 1 clips are quarantined, quarantine.parquet has 2",
    ]


def test_a_written_clip_in_quarantine_is_named(directory):
    folder = directory()
    rows = [QuarantineRecord("val_0", "AVE/val_0.mp4", "crashed", "again"), read_quarantine(folder)[1]]
    rewrite(folder, quarantine=rows)
    assert faults(folder) == ["quarantine.parquet: val_0 is in manifest.parquet too"]


def test_a_manifest_that_disagrees_with_a_clip_is_named(directory):
    folder = directory()
    records = read_manifest(folder)
    records[4] = records[4]._replace(seconds=9.5, warnings=())
    rewrite(folder, manifest=records)
    assert faults(folder) == [
        "shards/val-000000.tar: val_0 has seconds 10.0 in its description, 9.5 in the manifest",
        "shards/val-000000.tar: val_0 has warnings ['a warning'] in its description, [] in the manifest",
    ]


def test_a_fault_is_one_line_whatever_is_quoted(directory):
    folder = directory()
    records = read_manifest(folder)
    records[4] = records[4]._replace(source="long/" * 200 + "a\nb.mp4")
    rewrite(folder, manifest=records)
    (said,) = faults(folder)
    assert said.startswith(
        "shards/val-000000.tar: val_0 has source 'AVE/val_0.mp4' in its description, 'long/"
    )
    assert len(said) <= 500
    (folder / "shards" / "a\nb").touch()
    assert faults(folder)[0] == "shards/a b: is extra, manifest.parquet does not name it"


def test_rows_out_of_order_or_twice_are_named(directory):
    folder = directory()
    records = read_manifest(folder)
    rewrite(folder, manifest=[records[4], *records[:4], *records[5:]])
    assert faults(folder) == ["manifest.parquet: its rows are not in the order of the shards"]
    counts = read_dataset(folder).counts | {"test": {"written": 3, "quarantined": 2}}
    rewrite(folder, manifest=[*records, records[-1]], counts=counts)
    assert "manifest.parquet: test-1 is in it twice" in faults(folder)


@pytest.mark.parametrize(
    ("task", "replaced", "what"),
    [
        ("ave", {"frame_02_jpg": None}, "lacks frame_02.jpg"),
        ("ave", {"label_npy": None}, "lacks label.npy"),
        ("ave", {f"fbank_{BINS}_npy": None}, f"lacks fbank_{BINS}.npy"),
        ("ave", {"frame_03_jpg": b"x"}, "has frame_03.jpg, which does not belong to task ave"),
        ("avqa", {"qa_json": None}, "lacks qa.json"),
        ("avs", {"mask_00_png": None}, "lacks mask_00.png"),
        ("avs", {"qa_json": b"[]"}, "has qa.json, which does not belong to task avs"),
        (
            "ave",
            {"label_npy": npy([0, 1])},
            "has label.npy as int64 [2], expected int16 [seconds] from 0 to 2",
        ),
        ("avvp", {"tags_npy": None}, "lacks tags.npy"),
        (
            "avvp",
            {"tags_npy": npy(np.zeros(4, np.uint8))},
            "has tags.npy, which is uint8 [4], expected uint8 [3]",
        ),
        (
            "avvp",
            {"tags_npy": npy(np.zeros(3, bool))},
            "has tags.npy, which is bool [3], expected uint8 [3]",
        ),
        (
            "avvp",
            {"tags_npy": npy(np.array([0, 2, 1], np.uint8))},
            "has tags.npy, which has the value 2, expected 0 and 1 only",
        ),
        (
            "avvp",
            {"events_npy": npy(np.zeros((3, 2, 3), np.uint8))},
            "has events.npy, which is uint8 [3, 2, 3], expected uint8 [2, 3, 3]",
        ),
        (
            "avvp",
            {"events_npy": npy(np.full((2, 3, 3), 7, np.uint8))},
            "has events.npy, which has the value 7, expected 0 and 1 only",
        ),
        ("avvp", {"label_npy": npy(np.zeros(3, np.int16))}, "does not belong to task avvp"),
        ("ave", {"label_npy": b"text"}, "has a damaged member: label.npy is not an array of numbers"),
        (
            "ave",
            {f"fbank_{BINS}_npy": npy([[1.0]])},
            "as float64 [1, 1], expected float16 [2, 1 to 6, 4]",
        ),
    ],
)
def test_a_clip_with_other_members_than_its_task_needs_is_named(directory, task, replaced, what):
    sample = make_sample("odd", task=task, **replaced)
    folder = directory({("train", 0): [make_sample("even", task=task), sample]}, task=task, quarantine=[])
    found = faults(folder)
    assert len(found) == 1
    assert found[0].startswith("shards/train-000000.tar: odd ")
    assert what in found[0]


def test_a_training_clip_may_have_any_of_its_masks(directory):
    kept = make_sample(
        "odd", task="avs", mask_00_png=None, mask_02_png=picture(np.random.default_rng(0), "PNG")
    )
    assert faults(directory({("train", 0): [kept]}, task="avs")) == []


def test_all_masks_are_needed_outside_training(directory):
    sample = make_sample("odd", task="avs", split="val", mask_02_png=None)
    folder = directory({("val", 0): [sample]}, task="avs", quarantine=[])
    assert faults(folder) == ["shards/val-000000.tar: odd lacks mask_02.png"]


def test_events_are_needed_outside_training_and_allowed_in_it(directory):
    events = npy(np.zeros((2, 3, 3), np.uint8))
    dense = make_sample("dense", task="avvp", events_npy=events)
    weak = make_sample("weak", task="avvp")
    scored = make_sample("odd", task="avvp", split="test", events_npy=None)
    shards = {("train", 0): [dense, weak], ("test", 0): [scored]}
    assert faults(directory(shards, task="avvp", quarantine=[])) == [
        "shards/test-000000.tar: odd lacks events.npy"
    ]


def test_members_of_another_clip_or_kind_are_named(directory):
    """The manifest vouches for the bytes, but they are no clip of this key."""
    folder = directory({("train", 0): [make_sample("one")]}, quarantine=[])
    path = folder / "shards" / "train-000000.tar"
    buffer = io.BytesIO()
    with (
        tarfile.open(path) as old,
        tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as new,
    ):
        for member in old:
            new.addfile(member, old.extractfile(member))
        extras = [
            ("two.json", tarfile.REGTYPE),
            ("one.lnk", tarfile.SYMTYPE),
            ("one.label.npy", tarfile.REGTYPE),
        ]
        for name, kind in extras:
            extra = tarfile.TarInfo(name)
            extra.type, extra.linkname = kind, "/etc/passwd" if kind == tarfile.SYMTYPE else ""
            new.addfile(extra, io.BytesIO())
        size = new.offset
    extent = buffer.getvalue()[:size]
    path.write_bytes(extent + end_of_archive(size))
    digest = hashlib.sha256(extent).hexdigest()
    record = read_manifest(folder)[0]._replace(bytes=size, sha256=digest)
    rewrite(folder, manifest=[record])
    found = " | ".join(faults(folder))
    assert "one has the member two.json, which is not its own" in found
    assert "one is not a readable part of a tar: the member 'one.lnk' at byte " in found
    assert "is a symbolic link, shards hold plain files only" in found


def test_what_is_no_shard_directory_is_a_wrong_request(tmp_path):
    with pytest.raises(InputError, match="is not a shard directory; make one"):
        check(tmp_path)
    with pytest.raises(InputError, match="nowhere is not a shard directory"):
        check(tmp_path / "nowhere")


def test_several_processes_find_what_one_finds(directory, monkeypatch):
    """Faults, their order and the bytes are the same, and a clip out of place is named."""
    monkeypatch.setattr(shard_checks, "LEAST_BYTES_A_WORKER", 1)
    folder = directory()
    shards = sorted((folder / "shards").iterdir())
    content = bytearray(shards[0].read_bytes())
    content[1000] ^= 1
    shards[0].write_bytes(content)
    other = shards[-1].read_bytes()
    shards[-1].write_bytes(shards[1].read_bytes())
    shards[1].write_bytes(other)
    (folder / "shards" / "train-000099.tar").write_bytes(b"x")
    counted = []
    for workers in (1, 2):
        counted.append([])
        result = verify(folder, on_bytes=counted[-1].append, workers=workers)
        if workers == 1:
            alone = result
    assert result == alone
    assert len(result.faults) > 3
    assert any("which belongs in" in fault.what for fault in result.faults)
    assert sum(counted[0]) == sum(counted[1])


def test_processes_end_with_the_one_that_verifies(directory, monkeypatch):
    monkeypatch.setattr(shard_checks, "LEAST_BYTES_A_WORKER", 1)
    folder = directory()

    def interrupt(_):
        if multiprocessing.active_children():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(folder, on_bytes=interrupt, workers=2)
    assert multiprocessing.active_children() == []
