"""Disks that are full, or that cannot be written to: nothing partial is published, and the fault is named."""

import errno
import os
import re
import resource
import shutil
import subprocess
import sys

import pytest
from stgcma.errors import InputError, StgcmaError

from .conftest import STAND_IN
from .stand_in import build, contents


def test_a_full_disk_publishes_nothing_partial(environment, tmp_path, raw):
    """The limit on a file's size stands for the disk's end: the first shard does not fit."""
    out = tmp_path / "out"

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))

    done = subprocess.run(
        [sys.executable, STAND_IN, "run", out, raw, "--serial"],
        env=environment,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    where = re.escape(str(out / "shards" / "train-000000.tar"))
    assert re.search(f"stgcma: {where} cannot be written: File too large; allow larger files", done.stderr)
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
