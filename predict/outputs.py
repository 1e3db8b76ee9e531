"""Results are written beside where they belong, and put there when they are whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError
from ..shards.files import PARTIAL_SUFFIX, named_errors, sync_folder


def check_folder(out: Path) -> None:
    """Raises InputError when `out` is, or lies below, something that is no folder."""
    for place in (out, *out.absolute().parents):
        if place.exists() and not place.is_dir():
            raise InputError(f"--out {out} cannot be made: {place} is a file; choose another place")


@contextmanager
def staged(out: Path, name: str) -> Iterator[Path]:
    """An empty folder to fill with the results called `name`; whatever happens, it is gone afterwards.

    Raises StgcmaError naming `out` when it takes no files.
    """
    folder = out / f".{name}{PARTIAL_SUFFIX}"
    with named_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        if folder.exists():  # left by one that was killed
            shutil.rmtree(folder)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def put_in_place(folder: Path, out: Path) -> tuple[Path, ...]:
    """Moves all that lies in `folder` into `out`, in place of what has the same names. Returns the paths."""
    made = []
    with named_errors(out):
        for path in sorted(folder.iterdir()):
            target = out / path.name
            if path.is_dir():
                _replace_folder(path, target)
            else:
                _sync_file(path)
                path.replace(target)
            made.append(target)
        sync_folder(out)
    return tuple(made)


def _replace_folder(path: Path, target: Path) -> None:
    for file in path.iterdir():
        _sync_file(file)
    if target.is_dir():
        # A folder cannot be replaced in one go: between these two the old one is complete, but aside.
        target.rename(path.with_name(f"{path.name}.old"))
    path.rename(target)


def _sync_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
