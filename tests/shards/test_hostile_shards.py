"""Shards and tables from a stranger, every hash right: what reads them refuses them, in little memory."""

import dataclasses
import json
import os
import random

import numpy as np
import pytest
from stgcma.errors import InputError, StgcmaError
from stgcma.shards.manifest import read_dataset, read_manifest, read_quarantine, write_manifest
from stgcma.shards.schema import ClipRecord, QuarantineRecord
from stgcma.shards.verification import verify

from .conftest import make_sample, question
from .hostile import (
    MEMBERS,
    TARS,
    deep,
    large_png,
    replace_content,
    replace_member,
    replace_table,
    run_commands,
    wordy_table,
)

KEY = "train-1"
ONE_CLIP = {("train", 0): [make_sample("train-0"), make_sample(KEY)]}


def _named(value):
    """A part of a test's name; contents are left out of it."""
    return "content" if isinstance(value, bytes) else None


def faults(folder):
    return [str(fault) for fault in verify(folder, on_total=lambda _: None, on_bytes=lambda _: None).faults]


def refused(results):
    """Return true for each command that ended with an error of one line."""
    wrong = []
    for name, arguments, status, _, stderr in results:
        last = stderr.strip().splitlines()[-1] if stderr.strip() else ""
        if status not in (1, 2) or "Traceback" in stderr or not (arguments[1] == "verify" or last):
            wrong.append((name, arguments, status, stderr))
    return wrong


def test_every_attack_is_refused_in_little_memory_by_every_command(forks, directory, tmp_path):
    """A `gs` on PATH would tell that a picture was handed to Ghostscript."""
    commands = []
    for name in (*TARS, *MEMBERS):
        folder = directory(ONE_CLIP, name=name, quarantine=[])
        if name in TARS:
            replace_member(folder, KEY, "label.npy", TARS[name](f"{KEY}.label.npy"))
        else:
            replace_content(folder, KEY, *MEMBERS[name])
        commands.append([name, ("shards", "verify", folder)])
        commands.append([name, ("inspect", folder, "--page", tmp_path / f"{name}.html")])
        if name not in ("eps", "large-jpeg", "png-as-jpeg", "many-windows"):  # statistics do not read these
            commands.append([name, ("shards", "stats", folder)])
        if name != "many-windows":  # shown as it is
            commands.append([name, ("shards", "show", folder, KEY)])
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\necho 10\n")
    (programs / "gs").chmod(0o755)
    results = run_commands(
        forks, commands, tmp_path, env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
    )
    assert refused(results) == []
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("table", "kind"), [("manifest.parquet", ClipRecord), ("quarantine.parquet", QuarantineRecord)]
)
def test_a_table_that_unpacks_to_gigabytes_is_refused(forks, directory, tmp_path, table, kind):
    folder = directory(ONE_CLIP, quarantine=[])
    content = wordy_table(kind)
    assert len(content) < 1 << 20
    replace_table(folder, table, content)
    commands = [[each, ("shards", each, folder)] for each in ("verify", "stats")]
    commands += [["show", ("shards", "show", folder, "x")]]
    commands += [["inspect", ("inspect", folder, "--page", tmp_path / "page.html")]]
    results = run_commands(forks, commands, tmp_path)
    assert refused(results) == []
    assert all("claims 1000000 rows" in stdout + stderr for *_, stdout, stderr in results), results


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"compression": "zstd"}, "column key is packed with codec 6, expected Snappy or none"),
        ({"compression": "gzip"}, "column key is packed with codec 2"),
    ],
)
def test_a_packer_that_expands_without_bound_is_refused(directory, changed, message):
    folder = directory(ONE_CLIP, quarantine=[])
    replace_table(folder, "manifest.parquet", wordy_table(ClipRecord, rows=3, text="train", **changed))
    with pytest.raises(InputError, match=message):
        read_manifest(folder)


def test_a_list_with_more_entries_than_rows_can_have_is_refused(directory):
    folder = directory(ONE_CLIP, quarantine=[])
    records = read_manifest(folder)
    records[0] = records[0]._replace(warnings=("again",) * 256)
    write_manifest(folder, records)
    assert read_manifest(folder) == records
    records[0] = records[0]._replace(warnings=("again",) * 513)
    write_manifest(folder, records)
    with pytest.raises(InputError, match=r"column warnings.list.element claims 514 values for 2 rows"):
        read_manifest(folder)


def test_a_table_of_other_types_is_refused(directory):
    folder = directory(ONE_CLIP, quarantine=[])
    content = wordy_table(
        dataclasses.make_dataclass("Odd", [(name, str) for name in ClipRecord._fields]), rows=2
    )
    replace_table(folder, "manifest.parquet", content)
    with pytest.raises(InputError, match=r"column bytes is .*, expected int64"):
        read_manifest(folder)


def test_a_table_of_many_columns_is_refused(directory):
    folder = directory(ONE_CLIP, quarantine=[])
    names = [(f"column_{number}", str) for number in range(70)]
    kind = dataclasses.make_dataclass("Wide", [*QuarantineRecord.__annotations__.items(), *names])
    kind.__annotations__ = dict.fromkeys(kind.__annotations__, str)
    replace_table(folder, "quarantine.parquet", wordy_table(kind, rows=2, text="x"))
    with pytest.raises(InputError, match="it has 74 columns, at most 64 are read"):
        read_quarantine(folder)


def test_damaged_tables_raise_nothing_but_input_errors(directory):
    folder = directory(ONE_CLIP, quarantine=[])
    path = folder / "manifest.parquet"
    whole = path.read_bytes()
    rng = random.Random(4)
    refused = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(len(whole))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            read_manifest(folder)
        except InputError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shard": "../../../etc/passwd"}, "names the shard '../../../etc/passwd'"),
        ({"shard": "train-000000.tar/"}, "names the shard 'train-000000.tar/'"),
        ({"bytes": 12 << 30}, f"has a clip of {12 << 30} bytes, expected 1 to"),
        ({"bytes": -1}, "has a clip of -1 bytes"),
        ({"seconds": float("nan")}, "has seconds that is not a finite number"),
        ({"source_files": ("a.mp4", "b.mp4")}, "source_files, source_bytes, source_sha256 differ in length"),
    ],
)
def test_a_row_that_names_no_extent_of_a_shard_is_refused(directory, changed, message):
    folder = directory(ONE_CLIP, quarantine=[])
    records = read_manifest(folder)
    write_manifest(folder, [records[0]._replace(**changed), records[1]])
    with pytest.raises(InputError, match=message):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (deep(), "is nested deeper than 32 levels"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "is nested deeper than 32 levels"),
        (b'{"format_version":' + b"1" * 100_000 + b"}", "a number of more than 400 digits"),
        (b'{"format_version":NaN}', "NaN is not a number of JSON"),
        (b'{"format_version":1e999}', "1e999 is beyond the numbers of float64"),
        (b'{"format_version":"\\ud800"}', "surrogates not allowed"),
        (b"[" + b"0," * 5_000_000 + b"0]", "holds more than 4,000,000 values"),
        (b"[1]", "holds a list, expected an object"),
        (b"\xff{}", "is not JSON: 'utf-8' codec can't decode"),
    ],
    ids=_named,
)
def test_json_that_claims_much_is_refused(directory, content, message):
    folder = directory(ONE_CLIP, quarantine=[])
    (folder / "dataset.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_dataset(folder)
    assert faults(folder)[0].startswith("dataset.json: is damaged: ")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classes": "Bell"}, "classes is str 'Bell', expected a list of texts"),
        ({"features": {"sampling": 3}}, "features: lacks sampling or fbanks"),
        (
            {"features": {"sampling": {"frames": 10**9}, "fbanks": {}}},
            "features.sampling.frames is int '1000000000'",
        ),
        ({"audio": {"fbank_4": {"mean": "x", "std": 1}}}, "audio.fbank_4.mean is str 'x', expected a number"),
        ({"counts": {"train": {"written": -1, "quarantined": 0}}}, "counts.train.written is int '-1'"),
        ({"vocabulary": {"words": [1]}}, "vocabulary is dict"),
        ({"files": []}, "files is list"),
        ({"task": "avqa"}, "vocabulary: lacks words or answers"),
    ],
)
def test_fields_of_other_types_are_refused(directory, changed, message):
    folder = directory(ONE_CLIP, quarantine=[])
    content = json.loads((folder / "dataset.json").read_text()) | changed
    (folder / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as error:
        read_dataset(folder)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("task", "name", "content", "message"),
    [
        ("ave", "frame_01.jpg", b"\xff\xd8\xff\xe0 cut", "frame_01.jpg is not a JPEG picture"),
        ("avs", "mask_00.png", large_png(), "mask_00.png is 60000×60000, larger than 512 pixels a side"),
        ("avs", "mask_00.png", large_png(300), "mask_00.png is damaged: "),
        ("avqa", "qa.json", b'[{"answer":"two"}]', "qa.json: question 0 has no text as its template"),
        (
            "avqa",
            "qa.json",
            json.dumps([question("two", type=["Visual", "Odd"])]).encode(),
            "'Visual Odd', which is none of the collection's",
        ),
        ("avqa", "qa.json", deep(), "qa.json is nested deeper than 32 levels"),
    ],
    ids=_named,
)
def test_verify_decodes_what_it_vouches_for(directory, task, name, content, message):
    shards = {("train", 0): [make_sample("train-0", task=task), make_sample(KEY, task=task)]}
    folder = directory(shards, task=task, quarantine=[])
    replace_content(folder, KEY, name, content)
    (fault,) = faults(folder)
    assert fault.startswith(f"shards/train-000000.tar: {KEY} has a damaged member: ")
    assert message in fault


def test_verify_finds_values_that_no_fbank_or_mask_has(directory):
    odd = np.zeros((2, 5, 4), np.float16)
    odd[1, 2, 3] = np.inf
    from .conftest import npy

    folder = directory({("train", 0): [make_sample(KEY, fbank_4_npy=npy(odd))]}, quarantine=[])
    assert faults(folder) == [
        f"shards/train-000000.tar: {KEY} has fbank_4.npy with values that are not finite"
    ]


@pytest.mark.timeout(60)
def test_a_pipe_in_place_of_a_file_is_not_waited_for(directory):
    folder = directory(ONE_CLIP, quarantine=[])
    shard = folder / "shards" / "train-000000.tar"
    shard.unlink()
    os.mkfifo(shard)
    assert "is no plain file" in " ".join(faults(folder))
    (folder / "dataset.json").unlink()
    os.mkfifo(folder / "dataset.json")
    with pytest.raises(StgcmaError, match=r"dataset\.json is no plain file"):
        read_dataset(folder)
