"""Atomic and durable writing of files: a reader sees a complete file or none."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import StgcmaError

PARTIAL_SUFFIX = ".partial"

# Errors of disks and folders that cannot be written, each with advice.
_STORAGE_ERRORS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "ask for a larger quota",
    errno.EFBIG: "allow larger files",
    errno.EIO: "see to the disk",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "choose another place",
    errno.EISDIR: "take the folder of that name away",
}


# Those that only a local file system returns, not a driver for a remote one.
LOCAL_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


class UnwritableError(StgcmaError):
    """A file could not be written where it should be."""


@contextmanager
def published(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary neighbour of `path` for writing; on success it becomes `path`, durably.

    The file is written, fsynced and renamed, and the folder fsynced. On an exception it is removed. Raises
    StgcmaError naming `path` when the disk is full or fails.
    """
    temporary = path.with_name(f".{path.name}{PARTIAL_SUFFIX}")
    with named_errors(path):
        try:
            with temporary.open("wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def publish(path: Path, content: bytes) -> None:
    """Write `content` to `path` as `published` does."""
    with published(path) as stream:
        stream.write(content)


def sync_folder(folder: Path) -> None:
    """Make renames and removals in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Turn errors of a disk or folder that cannot be written into a StgcmaError that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _STORAGE_ERRORS:
            raise
        raise UnwritableError(
            f"{path} cannot be written: {error.strerror}; {_STORAGE_ERRORS[error.errno]}, "
            "then give the same command again"
        ) from error
