"""Checks of the file that an export writes, without torch: they come before anything that takes long."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import InputError
from . import FORMATS


def checked_target(path: Path) -> Path:
    """Return the path of the file to write.

    Raises InputError when its ending is none of `FORMATS`, it is a folder, or its folder does not exist or
    cannot be written.
    """
    if path.suffix.removeprefix(".") not in FORMATS:
        known = " or ".join(f".{name}" for name in FORMATS)
        raise InputError(f"FILE {path} ends in {path.suffix or 'no suffix'!r}, must end in {known}")
    if path.is_dir():
        raise InputError(f"FILE {path} is a folder, a file is needed")
    folder = path.absolute().parent
    if not folder.exists():
        raise InputError(f"FILE {path}: {path.parent} does not exist; make this folder, or name another one")
    if not folder.is_dir():
        raise InputError(f"FILE {path}: {path.parent} is a file; choose another folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"FILE {path}: the folder {path.parent} cannot be written; choose another one")
    return path
