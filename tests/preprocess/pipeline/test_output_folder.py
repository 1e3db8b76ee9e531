"""The output folder: one writer, the same settings, retries, and disks that are full."""

import errno
import fcntl
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from unittest.mock import ANY

import pytest
from stgcma.errors import InputError, StgcmaError
from stgcma.preprocess import locking, pipeline
from stgcma.preprocess.locking import exclusive
from stgcma.preprocess.output import open_output
from stgcma.shards.manifest import read_quarantine
from stgcma.shards.storage import open_store
from stgcma.shards.verification import verify

from . import stand_in
from .stand_in import FEATURES, build, contents


def faults(folder):
    return verify(folder, on_total=lambda _: None, on_bytes=lambda _: None).faults


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
    limits = pipeline.Limits(timeout_seconds=5, memory_bytes=256 << 20, tries=2)
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


def test_a_second_process_is_refused_at_once(start, finish, tmp_path, raw):
    out = tmp_path / "out"
    first = start("run", out, raw, "--serial", "--seconds", 0.2)
    deadline = time.monotonic() + 60
    while not (out / ".progress" / "plan.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    status, _, stderr = finish("run", out, raw, "--serial")
    assert status == 2
    line = f"stgcma: OUT {out} is being written by another process; wait for it or choose another\n"
    assert stderr == line
    assert first.poll() is None
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


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clips": 11}, "the list of clips or their labels changed"),
        (
            {"features": FEATURES | {"jpeg_quality": 60}},
            "features.jpeg_quality is 95 there, 60 here",
        ),
        ({"features": FEATURES | {"decoder": "pyav"}}, "features.decoder is None there, 'pyav' here"),
    ],
)
def test_other_settings_are_refused(tmp_path, raw, complete, change, message):
    out = tmp_path / "out"
    build(out, raw, clips=12)
    if not complete:
        unfinish(out)
    before = contents(out)
    with pytest.raises(InputError, match=re.escape(message)) as refused:
        build(out, raw, **{"clips": 12, **change})
    assert str(refused.value).endswith("choose another OUT, or --overwrite to start anew")
    assert contents(out) == before
    build(out, raw, **{"clips": 12, **change}, overwrite=True)
    build(tmp_path / "whole", raw, **{"clips": 12, **change})
    assert contents(out) == contents(tmp_path / "whole")


def unfinish(out):
    """Makes OUT what it was right before its last file was written."""
    info = pipeline.read_dataset(out)
    with open_output(out) as output:
        plan = pipeline.make_plan(info)
        tasks = pipeline.plan_shards(stand_in.make_collection(12).clips, stand_in.CLIPS_PER_SHARD)
        output.reopen(plan, pipeline.flawless_shards(out, tasks))


def test_another_decoder_version_is_refused(tmp_path, raw, monkeypatch):
    out = tmp_path / "out"
    build(out, raw, clips=12)
    monkeypatch.setattr(stand_in, "VERSIONS", {"stgcma": "1", "pyav": "19.0.0"})
    with pytest.raises(InputError, match=r"versions\.pyav is '18\.1\.0' there, '19\.0\.0' here"):
        build(out, raw, clips=12)


def test_another_version_of_this_program_is_refused_halfway_only(tmp_path, raw, monkeypatch):
    out = tmp_path / "out"
    build(out, raw, clips=12)
    monkeypatch.setattr(stand_in, "VERSIONS", {"stgcma": "2", "pyav": "18.1.0"})
    assert build(out, raw, clips=12).was_complete
    monkeypatch.setattr(stand_in, "VERSIONS", {"stgcma": "1", "pyav": "18.1.0"})
    unfinish(out)
    monkeypatch.setattr(stand_in, "VERSIONS", {"stgcma": "2", "pyav": "18.1.0"})
    with pytest.raises(InputError, match=r"versions\.stgcma is '1' there, '2' here"):
        build(out, raw, clips=12)


@pytest.mark.parametrize(
    "change",
    [{"decoder": "pyav"}, {"missing_audio": "silence"}, {"allow_links": True}, {"features": ("swin",)}],
)
def test_every_option_that_decides_bytes_is_part_of_the_plan(tmp_path, monkeypatch, change):
    plans = [plan_of(tmp_path, monkeypatch, **options) for options in ({}, change)]
    assert plans[0] != plans[1]


@pytest.mark.parametrize(
    "change", [{"workers": 3}, {"engine": "ray"}, {"limits": pipeline.Limits(timeout_seconds=9)}]
)
def test_no_other_option_is_part_of_the_plan(tmp_path, monkeypatch, change):
    plans = [plan_of(tmp_path, monkeypatch, **options) for options in ({}, change)]
    assert plans[0] == plans[1]


def plan_of(tmp_path, monkeypatch, **options):
    """The plan that `preprocess` makes of a folder of one file under these options."""
    raw = tmp_path / "raw" / "Cat"
    raw.mkdir(parents=True, exist_ok=True)
    (raw / "a.mp4").touch()
    plans = []

    class PlannedError(Exception):
        pass

    def begin(_self, plan, *, overwrite):
        plans.append((plan, overwrite))
        raise PlannedError

    monkeypatch.setattr(pipeline.OutputFolder, "begin", begin)
    with pytest.raises(PlannedError):
        pipeline.preprocess(
            "folder", raw.parent, tmp_path / "out", pipeline.Options(**{"features": ("clip",), **options})
        )
    return plans[0]


def test_retrying_makes_the_shards_with_failures_again_and_no_others(tmp_path, raw):
    out = tmp_path / "out"
    build(out, raw)
    before = {path.name: path.stat().st_ino for path in (out / "shards").iterdir()}
    for bad in raw.glob("*.bad"):
        bad.unlink()
    assert build(out, raw).was_complete  # without the flag nothing is tried
    assert len(read_quarantine(out)) == 2
    outcome = build(out, raw, retry_quarantined=True)
    assert (outcome.quarantined, outcome.was_complete) == (0, False)
    build(tmp_path / "whole", raw)
    assert contents(out) == contents(tmp_path / "whole")
    after = {path.name: path.stat().st_ino for path in (out / "shards").iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {
        "train-000000.tar",
        "train-000006.tar",
    }


def test_retrying_what_still_fails_changes_nothing(tmp_path, raw):
    out = tmp_path / "out"
    build(out, raw)
    before = contents(out)
    build(out, raw, retry_quarantined=True)
    assert contents(out) == before


def test_retrying_an_unfinished_run(tmp_path, raw):
    out = tmp_path / "out"
    build(out, raw, clips=12)
    unfinish(out)
    (raw / "clip-5.bad").unlink()
    build(out, raw, clips=12, retry_quarantined=True)
    build(tmp_path / "whole", raw, clips=12)
    assert contents(out) == contents(tmp_path / "whole")


def test_retrying_mends_a_damaged_training_shard(tmp_path, raw, capsys):
    out = tmp_path / "out"
    build(out, raw)
    whole = contents(out)
    path = out / "shards" / "train-000002.tar"
    content = bytearray(path.read_bytes())
    content[3000] ^= 1
    path.write_bytes(content)
    build(out, raw, retry_quarantined=True)
    assert contents(out) == whole
    assert "train-000002.tar: clip-" in capsys.readouterr().err


def test_a_shard_whose_last_clip_goes_bad_is_removed(tmp_path, raw):
    """Only a shard that lacks a clip is made again; its other clips have gone bad since."""
    out = tmp_path / "out"
    (raw / "clip-0.bad").touch()
    build(out, raw, clips=3)
    assert [path.name for path in (out / "shards").iterdir()] == ["train-000000.tar"]
    for name in ("clip-1", "clip-2"):
        (raw / f"{name}.bad").touch()
    build(out, raw, clips=3, retry_quarantined=True)
    assert list((out / "shards").glob("*")) == []
    assert len(read_quarantine(out)) == 3
    assert faults(out) == ()


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
    with pytest.raises(InputError, match=f"holds {name}, but neither dataset.json nor the plan of a run"):
        build(tmp_path / "out", raw, clips=3)
    assert path.read_text() == "precious"
    build(tmp_path / "out", raw, clips=3, overwrite=True)
    assert faults(tmp_path / "out") == ()


def test_a_directory_that_lost_its_description_is_left_alone(tmp_path, raw):
    out = tmp_path / "out"
    build(out, raw, clips=12)
    (out / "dataset.json").unlink()
    before = contents(out)
    with pytest.raises(InputError, match="--overwrite to discard it"):
        build(out, raw, clips=12)
    assert contents(out) == before


def test_a_plan_that_is_none_is_named(tmp_path, raw):
    (tmp_path / "out" / ".progress").mkdir(parents=True)
    (tmp_path / "out" / ".progress" / "plan.json").write_text("[")
    with pytest.raises(InputError, match=r"plan\.json is not the plan of a run; --overwrite to start anew"):
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


def test_a_full_disk_publishes_nothing_partial(finish, tmp_path, raw):
    """The limit on a file's size stands for the disk's end: the first shard does not fit."""
    out = tmp_path / "out"

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))

    status, _, stderr = finish("run", out, raw, "--serial", preexec_fn=limit)
    assert status == 1
    where = re.escape(str(out / "shards" / "train-000000.tar"))
    assert re.search(f"stgcma: {where} cannot be written: File too large; allow larger files", stderr)
    assert contents(out).keys() == {".progress", ".progress/plan.json", "shards"}
    build(out, raw)
    build(tmp_path / "whole", raw)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="mounts a small file system")
def test_a_full_file_system(tmp_path, raw):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=150k", "none", disk]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("may not mount")
    try:
        with pytest.raises(StgcmaError, match="cannot be written: No space left on device; free some space"):
            build(disk / "out", raw)
        assert not list((disk / "out").rglob("*.partial"))
        written = {path.name: path.read_bytes() for path in (disk / "out" / "shards").iterdir()}
        build(tmp_path / "whole", raw)
        assert written
        for name, content in written.items():
            assert (tmp_path / "whole" / "shards" / name).read_bytes() == content
        shutil.copytree(disk / "out", tmp_path / "out")
        build(tmp_path / "out", raw)  # with room, it goes on
        assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.fixture
def read_only(monkeypatch):
    """`read_only(folder)`: from then on nothing below it is opened for writing, made, renamed or removed."""

    def close(folder):
        def refuse(call, is_writing=lambda *_: True):
            def wrapped(path, *arguments, **options):
                if str(path).startswith(str(folder)) and is_writing(*arguments):
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS))
                return call(path, *arguments, **options)

            return wrapped

        for name in ("unlink", "rename", "replace", "rmdir"):
            monkeypatch.setattr(os, name, refuse(getattr(os, name)))
        monkeypatch.setattr(os, "open", refuse(os.open, lambda flags, *_: flags & os.O_RDWR))

    return close


def test_a_finished_directory_on_a_read_only_disk_is_complete(tmp_path, raw, read_only):
    out = tmp_path / "out"
    build(out, raw, clips=12)
    before = contents(out)
    read_only(out)
    assert build(out, raw, clips=12).was_complete
    with pytest.raises(InputError, match="the list of clips or their labels changed"):
        build(out, raw, clips=11)
    assert contents(out) == before


def test_an_unfinished_directory_on_a_read_only_disk_is_named(tmp_path, raw, read_only):
    out = tmp_path / "out"
    out.mkdir()
    read_only(out)
    where = re.escape(str(out / ".lock"))
    with pytest.raises(StgcmaError, match=f"^{where} cannot be written: Read-only file system; make it writ"):
        build(out, raw, clips=3)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EACCES, "Permission denied; make it writable"),
        (errno.ENOSPC, "No space left on device; free some space"),
        (errno.ENAMETOOLONG, "File name too long; choose a shorter name"),
    ],
)
def test_an_out_that_cannot_be_made_is_named(tmp_path, raw, monkeypatch, number, message):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(StgcmaError, match=f"out cannot be written: {message}"):
        build(tmp_path / "out", raw, clips=3)


@pytest.mark.parametrize("number", range(1, 12))
def test_a_disk_that_is_full_when_it_is_synced(tmp_path, raw, monkeypatch, number):
    out = tmp_path / "out"
    build(tmp_path / "whole", raw, clips=6)
    fsync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StgcmaError, match="No space left on device"):
            build(out, raw, clips=6)
    assert not list(out.rglob("*.partial"))
    assert not (out / ".lock").exists()
    build(out, raw, clips=6)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("serial", [True, False])
def test_what_nobody_foresaw_names_the_clip(tmp_path, raw, serial):
    (raw / "clip-6.odd").touch()
    with pytest.raises(ValueError, match=r"label\.npy of clip-6 is .*int.*, must be bytes") as raised:
        build(tmp_path / "out", raw, clips=12, workers=2, serial=serial)
    assert raised.value.__notes__ == ["This happened at clip clip-6 of train-000001.tar."]
    assert not list((tmp_path / "out" / "shards").glob("*.partial"))


def test_options_that_contradict_each_other_are_refused():
    with pytest.raises(InputError, match="--overwrite makes every clip again; leave out --retry-quarantined"):
        pipeline.Options(overwrite=True, retry_quarantined=True)
    with pytest.raises(InputError, match="--engine is 'spark', must be local or ray"):
        pipeline.Options(engine="spark")
    with pytest.raises(InputError, match="--ray-address is for --engine ray"):
        pipeline.Options(ray_address="auto")
    with pytest.raises(InputError, match="--decoder is 'opencv', must be one of auto, pyav, ffmpeg, decord"):
        pipeline.Options(decoder="opencv")
    with pytest.raises(InputError, match="--missing-audio is 'noise', must be one of quarantine, silence"):
        pipeline.Options(missing_audio="noise")
