"""Result files: written into a temporary folder, then moved into place when they are complete."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError
from .files import PARTIAL_SUFFIX, named_errors, sync_folder
from .locking import is_at


def check_folder(out: Path) -> None:
    """Raise InputError when `out` or one of its parents exists and is not a folder."""
    for path in (out, *out.absolute().parents):
        if path.exists() and not path.is_dir():
            raise InputError(f"out {out} cannot be made: {path} is a file; choose another folder")


@contextmanager
def staged(out: Path, name: str) -> Iterator[Path]:
    """Yield an empty folder in `out` for the results called `name`; delete it afterwards.

    Raises StgcmaError naming `out` when it cannot be written, InputError when another process writes results
    of this name there.
    """
    folder = out / f".{name}{PARTIAL_SUFFIX}"
    with named_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        descriptor = _claim(folder)
        if descriptor is None:
            raise InputError(
                f"{out}: another process writes {name} there; wait for it, or name another place"
            )
        try:
            for left in folder.iterdir():  # by a process that was killed
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # while it is locked, so that nobody else uses it
            os.close(descriptor)


def _claim(folder: Path) -> int | None:
    """Make a folder, and return a descriptor that locks it; None when another process has locked it."""
    if folder.is_symlink():
        raise InputError(f"{folder} is a link, and its content would be removed; remove the link")
    while True:
        folder.mkdir(exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # another process has removed it
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            return descriptor  # a network's file system that locks no folders
        if is_at(descriptor, folder):
            return descriptor
        os.close(descriptor)


def put_in_place(folder: Path, out: Path, *, last: str = "") -> tuple[Path, ...]:
    """Move the content of `folder` into `out`, replacing files and folders of the same names.

    Of a folder of folders, those are replaced that it holds. Files are synced before they are renamed. The
    file `last`, which needs the others, is moved after them. Returns the new paths.
    """
    moved = []
    with named_errors(out):
        for path in sorted(folder.iterdir(), key=lambda path: (path.name == last, path)):
            target = out / path.name
            inner = sorted(child for child in path.iterdir() if child.is_dir()) if path.is_dir() else []
            for child in inner:
                target.mkdir(exist_ok=True)
                _replace_folder(child, target / child.name)
                moved.append(target / child.name)
            if inner:
                sync_folder(target)
                continue
            if path.is_dir():
                _replace_folder(path, target)
            else:
                _sync_file(path)
                path.replace(target)
            moved.append(target)
        sync_folder(out)
    return tuple(moved)


def _replace_folder(path: Path, target: Path) -> None:
    for file in path.iterdir():
        _sync_file(file)
    if target.is_dir():
        # A folder cannot be replaced atomically: between the two renames, only the complete old one exists.
        target.rename(path.with_name(f"{path.name}.old"))
    path.rename(target)


def _sync_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
