"""A finished directory that lost something: noticed at the next start, and made again without the rest."""

import json
from unittest import mock

import pytest
from stgcma.errors import InputError, StgcmaError
from stgcma.preprocess import Options
from stgcma.preprocess.pipeline import build as building
from stgcma.preprocess.pipeline.output import PROGRESS_FOLDER
from stgcma.shards.manifest import read_manifest, write_manifest
from stgcma.shards.schema import CONTENT_HASH, content_sha256

from .killing import before_operations, check_kills
from .stand_in import build, contents, faults, unfinish

MISSING, CUT, LONG, VALIDATION = (
    "shards/train-000001.tar",
    "shards/train-000002.tar",
    "shards/train-000003.tar",
    "shards/val-000000.tar",
)


@pytest.fixture
def out(tmp_path, raw):
    build(tmp_path / "out", raw)
    return tmp_path / "out"


def files(folder):
    """Return inode and time of writing of every file, by name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            status = path.stat()
            found[path.relative_to(folder).as_posix()] = (status.st_ino, status.st_mtime_ns)
    return found


def flip(path, byte=3000):
    content = bytearray(path.read_bytes())
    content[byte] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("options", [{}, {"retry_quarantined": True}, {"repair": True}])
def test_a_shard_of_another_size_is_made_again_at_every_start(out, raw, options, capsys):
    whole, before = contents(out), files(out)
    (out / MISSING).unlink()
    (out / CUT).write_bytes((out / CUT).read_bytes()[:-512])
    (out / LONG).write_bytes((out / LONG).read_bytes() + b"\0")
    (out / VALIDATION).write_bytes(b"")
    assert not build(out, raw, **options).was_complete
    assert contents(out) == whole
    after = files(out)
    changed = {name for name in after if after[name] != before[name]}
    retried = (
        {"shards/train-000000.tar", "shards/train-000006.tar"} if "retry_quarantined" in options else set()
    )
    assert changed == {MISSING, CUT, LONG, VALIDATION} | retried
    said = capsys.readouterr().err
    assert f"{MISSING} is missing; it is made again" in said
    size = len((out / LONG).read_bytes())
    assert f"{LONG} is {size + 1} bytes long, {size} were written; it is made again" in said
    assert build(out, raw).was_complete


@pytest.mark.parametrize("shard", [CUT, VALIDATION])
def test_repair_makes_what_fails_its_hash_and_nothing_else(out, raw, shard, capsys):
    whole, before = contents(out), files(out)
    flip(out / shard)
    assert build(out, raw).was_complete, "sizes are right: only --repair reads the bytes"
    assert not build(out, raw, repair=True).was_complete
    assert contents(out) == whole
    assert {name for name, file in files(out).items() if file != before[name]} == {shard}
    assert f"{shard} clip-" in capsys.readouterr().err


def test_a_folder_in_the_place_of_a_shard_is_named(out, raw):
    (out / MISSING).unlink()
    (out / MISSING).mkdir()
    with pytest.raises(StgcmaError, match=r"train-000001\.tar cannot be .*; take the folder of that"):
        build(out, raw)


def test_repair_of_the_zeros_behind_the_last_clip(out, raw):
    whole = contents(out)
    flip(out / CUT, byte=-5)
    build(out, raw, repair=True)
    assert contents(out) == whole


def test_repair_of_a_whole_directory_touches_nothing(out, raw):
    before = files(out)
    assert build(out, raw, repair=True).was_complete
    assert files(out) == before


@pytest.mark.parametrize("name", ["manifest.parquet", "quarantine.parquet"])
@pytest.mark.parametrize("harm", ["missing", "cut", "changed"])
def test_a_lost_table_is_named_and_repaired(out, raw, name, harm, capsys):
    whole, before = contents(out), files(out)
    path = out / name
    if harm == "missing":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(b"")
    else:
        flip(path, byte=200)
    with pytest.raises(InputError, match=rf"{name} is missing or damaged; repeat with the option repair"):
        build(out, raw)
    build(out, raw, repair=True)
    assert contents(out) == whole
    assert f"{name} is missing or damaged; it is made again" in capsys.readouterr().err
    if name == "quarantine.parquet":  # of the shards, those that lack a clip were tried again
        changed = {name for name, file in files(out).items() if file != before[name]}
        assert changed == {name, "shards/train-000000.tar", "shards/train-000006.tar"}


def forge_manifest(out):
    """Rewrite the manifest with another frame rate: a table that can be read and fails its hash."""
    write_manifest(out, [row._replace(fps=99.0) for row in read_manifest(out)])


def stop_before_shards(out, raw, monkeypatch, **options):
    """Begin a repair that is interrupted before its first shard."""
    monkeypatch.setattr(building, "_make_shards", mock.Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        build(out, raw, repair=True, **options)
    monkeypatch.undo()


@pytest.mark.parametrize("stopped", [False, True])
def test_rows_of_a_manifest_that_fails_its_hash_are_not_used(out, raw, stopped, monkeypatch):
    whole = contents(out)
    forge_manifest(out)
    if stopped:
        stop_before_shards(out, raw, monkeypatch)
    build(out, raw, repair=True)
    assert contents(out) == whole


def test_rows_of_a_set_aside_manifest_that_fails_its_hash_are_not_used(out, raw, monkeypatch):
    build(out, raw, clips=50, append=True)
    whole = contents(out)
    (out / MISSING).unlink()
    stop_before_shards(out, raw, monkeypatch, clips=50)
    forge_manifest(out / PROGRESS_FOLDER)
    build(out, raw, clips=50, repair=True)
    assert contents(out) == whole


def test_a_description_that_does_not_fit_its_hash_is_repaired(out, raw):
    whole, before = contents(out), files(out)
    path = out / "dataset.json"
    content = json.loads(path.read_text())
    content["audio"]["fbank_128"]["mean"] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"dataset\.json is missing or damaged"):
        build(out, raw)
    build(out, raw, repair=True)
    assert contents(out) == whole
    assert {name for name, file in files(out).items() if file != before[name]} == {"dataset.json"}


@pytest.mark.parametrize("harm", ["empty", "cut", "a key"])
def test_a_description_that_cannot_be_read_is_repaired(out, raw, harm, capsys):
    whole, path = contents(out), out / "dataset.json"
    content = path.read_bytes()
    harmed = {"empty": b"", "cut": content[:200], "a key": content.replace(b'"classes"', b'"glasses"')}
    path.write_bytes(harmed[harm])
    with pytest.raises(InputError, match=r"dataset\.json.*; repeat with the option repair"):
        build(out, raw)
    assert path.read_bytes() == harmed[harm]
    build(out, raw, repair=True)
    assert contents(out) == whole
    assert "nothing says how the shards were made: all are made again" in capsys.readouterr().err


def test_a_directory_of_a_newer_format_is_not_repaired(out, raw):
    path = out / "dataset.json"
    content = json.loads(path.read_text()) | {"format_version": 99}
    content |= {CONTENT_HASH: content_sha256(content)}
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="format_version is 99"):
        build(out, raw, repair=True)
    assert json.loads(path.read_text()) == content


@pytest.mark.slow
@before_operations
def test_killed_anywhere_while_repairing(finish, tmp_path, raw, every):
    build(tmp_path / "before", raw, clips=12)
    flip(tmp_path / "before" / "shards" / "train-000001.tar")
    (tmp_path / "before" / "shards" / "val-000000.tar").unlink()
    check_kills(finish, tmp_path, raw, every, "--repair", operations=30)


def test_repair_of_an_unfinished_run_reads_what_is_done(tmp_path, raw):
    build(tmp_path / "whole", raw, clips=12)
    out = tmp_path / "out"
    build(out, raw, clips=12)
    unfinish(out)
    flip(out / "shards" / "train-000001.tar")
    build(out, raw, clips=12, repair=True)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("record", [b"", b"{", b"null", b"[]", b'{"split":"train"}', b"\xff", b"[" * 100_000])
def test_a_progress_record_that_is_none_is_made_again(tmp_path, raw, record, capsys):
    build(tmp_path / "whole", raw, clips=12)
    out = tmp_path / "out"
    build(out, raw, clips=12)
    unfinish(out)
    (out / PROGRESS_FOLDER / "train-000001.tar.json").write_bytes(record)
    build(out, raw, clips=12)
    assert contents(out) == contents(tmp_path / "whole")
    assert "train-000001.tar.json is damaged; its shard is made again" in capsys.readouterr().err
    assert faults(out) == ()


def test_a_progress_record_under_anothers_name_is_not_believed(tmp_path, raw, capsys):
    build(tmp_path / "whole", raw, clips=12)
    out = tmp_path / "out"
    build(out, raw, clips=12)
    unfinish(out)
    progress = out / PROGRESS_FOLDER
    (progress / "train-000001.tar.json").write_bytes((progress / "train-000000.tar.json").read_bytes())
    build(out, raw, clips=12)
    assert contents(out) == contents(tmp_path / "whole")
    assert "train-000001.tar.json is damaged; its shard is made again" in capsys.readouterr().err


def test_repair_and_overwrite_exclude_each_other():
    with pytest.raises(InputError, match="overwrite makes every clip again; leave out repair"):
        Options(overwrite=True, repair=True)
