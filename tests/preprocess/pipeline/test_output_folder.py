"""The output folder: what a run leaves in it, one writer at a time, and files of others."""

import fcntl
import re
import time
from unittest.mock import ANY

import pytest
from stgcma.errors import InputError
from stgcma.preprocess import Limits
from stgcma.shards import locking
from stgcma.shards.locking import exclusive
from stgcma.shards.manifest import read_quarantine
from stgcma.shards.storage import open_store

from .stand_in import build, contents, faults


def test_a_run_leaves_what_the_contract_says_and_nothing_else(tmp_path, raw):
    build(tmp_path / "out", raw, clips=12)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "dataset.json",
        "manifest.parquet",
        "quarantine.parquet",
        "shards",
    ]
    assert faults(tmp_path / "out") == ()


def test_what_is_said_of_a_clip_does_not_depend_on_where_raw_is(tmp_path, raw):
    build(tmp_path / "out", raw, clips=12)
    assert [record.message for record in read_quarantine(tmp_path / "out")] == ["5.mp4 cannot be read"]


def test_what_kills_its_process_is_quarantined_with_its_reason(tmp_path, raw):
    for key, harm in (("clip-1", "hang"), ("clip-3", "abort"), ("clip-6", "hungry"), ("clip-7", "raise")):
        (raw / f"{key}.{harm}").touch()
    limits = Limits(timeout_seconds=5, memory_bytes=256 << 20, tries=2)
    build(tmp_path / "out", raw, clips=8, workers=2, serial=False, limits=limits)
    assert [(row.key, row.reason, row.message) for row in read_quarantine(tmp_path / "out")] == [
        ("clip-1", "timeout", "not done after 5 s"),
        ("clip-5", "unreadable", "5.mp4 cannot be read"),
        ("clip-6", "out-of-memory", "needed more memory than it may have, 2 times"),
        ("clip-7", "crashed", ANY),
        ("clip-3", "crashed", "its process was ended by SIGABRT, 2 times"),
    ]
    message = read_quarantine(tmp_path / "out")[3].message
    assert re.fullmatch(r"FileNotFoundError: .*: '7\.mp4' \(.*, line \d+\)", message)
    assert faults(tmp_path / "out") == ()


def test_a_second_process_is_refused_at_once(start, tmp_path, raw):
    out = tmp_path / "out"
    waits = raw / "clip-30.wait"
    waits.touch()
    first = start("run", out, raw, "--serial")
    deadline = time.monotonic() + 120
    while not (out / ".progress" / "plan.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(InputError) as refused:
        build(out, raw)
    assert str(refused.value) == (
        f"OUT {out} is being written by another process; wait for it or choose another"
    )
    assert first.poll() is None
    waits.unlink()
    _, stderr = first.communicate(timeout=120)
    assert first.returncode == 0, stderr
    build(tmp_path / "whole", raw)
    assert contents(out) == contents(tmp_path / "whole")


def test_a_lock_whose_owner_is_gone_does_not_count(tmp_path, raw):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").write_text("4194304")
    build(tmp_path / "out", raw, clips=3)
    assert faults(tmp_path / "out") == ()


def test_a_lock_file_that_was_removed_meanwhile_guards_nothing(tmp_path, monkeypatch):
    """Between opening and locking it, its last owner removes it: another file is at its path then."""
    path = tmp_path / ".lock"
    flock, opened = fcntl.flock, []

    def lock_late(descriptor, how):
        opened.append(descriptor)
        if len(opened) == 1:
            path.unlink()
        flock(descriptor, how)

    monkeypatch.setattr(locking.fcntl, "flock", lock_late)
    with exclusive(open_store(tmp_path)):
        assert len(opened) == 2
        with path.open() as again, pytest.raises(BlockingIOError):
            flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not path.exists()


@pytest.mark.parametrize(
    "name",
    ["thesis.tex", "shards/holiday.tar", ".progress.txt", ".progress/notes", "a/dataset.json", "empty/"],
)
def test_files_of_others_are_left_alone(tmp_path, raw, name):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.mkdir() if name.endswith("/") else path.write_text("precious")
    before = contents(tmp_path / "out")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=re.escape(f"holds other files ({name}, …)")):
            build(tmp_path / "out", raw, clips=3, overwrite=overwrite)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("name", ["shards/train-000000.tar", "shards/test-000000.tar", "manifest.parquet"])
def test_shards_that_may_be_anothers_are_left_alone(tmp_path, raw, name):
    """WebDataset's usual names are ours too; nothing else says whose they are."""
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    with pytest.raises(InputError, match=f"holds {name}, but neither dataset.json nor the plan"):
        build(tmp_path / "out", raw, clips=3)
    assert path.read_text() == "precious"
    build(tmp_path / "out", raw, clips=3, overwrite=True)
    assert faults(tmp_path / "out") == ()


def test_a_directory_that_lost_its_description_is_left_alone(tmp_path, raw):
    out = tmp_path / "out"
    build(out, raw, clips=12)
    (out / "dataset.json").unlink()
    before = contents(out)
    with pytest.raises(InputError, match="the option overwrite to discard it"):
        build(out, raw, clips=12)
    assert contents(out) == before


def test_a_plan_that_is_none_is_named(tmp_path, raw):
    (tmp_path / "out" / ".progress").mkdir(parents=True)
    (tmp_path / "out" / ".progress" / "plan.json").write_text("[")
    with pytest.raises(InputError, match=r"plan\.json is not the plan of a run; use the option overwrite"):
        build(tmp_path / "out", raw, clips=3)


def test_a_dataset_json_of_others_is_left_alone(tmp_path, raw):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dataset.json").write_text('{"citation": "ours"}')
    (tmp_path / "out" / "notes.txt").write_text("precious")
    with pytest.raises(InputError, match="holds other files"):
        build(tmp_path / "out", raw, clips=3, overwrite=True)


def test_notes_in_a_finished_directory_survive_an_overwrite(tmp_path, raw):
    out = tmp_path / "out"
    build(out, raw, clips=3)
    (out / "notes.txt").write_text("precious")
    build(out, raw, clips=5, overwrite=True)
    assert (out / "notes.txt").read_text() == "precious"


@pytest.mark.parametrize("serial", [True, False])
def test_what_nobody_foresaw_names_the_clip(tmp_path, raw, serial):
    (raw / "clip-6.odd").touch()
    with pytest.raises(ValueError, match=r"label\.npy of clip-6 is .*int.*, must be bytes") as raised:
        build(tmp_path / "out", raw, clips=12, workers=2, serial=serial)
    assert raised.value.__notes__ == ["This happened at clip clip-6 of train-000001.tar."]
    assert not list((tmp_path / "out" / "shards").glob("*.partial"))
