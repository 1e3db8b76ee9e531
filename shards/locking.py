"""One writer at a time for an output folder, also when the last one was killed.

A local folder is locked by the kernel, which releases the lock when the process ends. In an object store the
lock is an object: see `object_lock`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ..errors import StgcmaError
from .files import named_errors
from .object_lock import LOCK_FILE, LOCK_NAME, busy, object_lock
from .storage import LocalStore, ObjectStore, Store

__all__ = ["LOCK_FILE", "KernelLock", "Lock", "exclusive", "is_at", "is_lock"]


class Lock(Protocol):
    """A held lock."""

    def check(self) -> None:
        """Raise StgcmaError when another process took it over."""


class KernelLock:
    """A lock of the kernel, which cannot be lost."""

    def check(self) -> None:
        """Do nothing."""


def is_lock(name: str) -> bool:
    """Tell whether `name` is that of a lock in its folder."""
    return LOCK_NAME.fullmatch(name) is not None


@contextlib.contextmanager
def exclusive(store: Store) -> Iterator[Lock]:
    """Hold the lock of `store`.

    Raises InputError at once when another process has it, UnwritableError where no lock can be written.
    """
    if isinstance(store, ObjectStore):
        with object_lock(store) as lock:
            yield lock
        return
    if not isinstance(store, LocalStore):
        raise TypeError(f"store is a {type(store).__name__}, there is no lock for such")
    path = store.path / LOCK_FILE
    descriptor = _lock_file(path)
    try:
        yield KernelLock()
    finally:
        path.unlink(missing_ok=True)  # while it is held, so that no other process has locked this file
        os.close(descriptor)


def _lock_file(path: Path) -> int:
    while True:
        with named_errors(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise busy(str(path.parent)) from None
            raise StgcmaError(f"{path} cannot be locked: {error.strerror}") from error
        # Its last owner may have removed the file after it was opened here; then the lock has no effect.
        if is_at(descriptor, path):
            return descriptor
        os.close(descriptor)


def is_at(descriptor: int, path: Path) -> bool:
    """Tell whether the open file `descriptor` is still the one at `path`."""
    opened = os.fstat(descriptor)
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return (opened.st_dev, opened.st_ino) == (there.st_dev, there.st_ino)
