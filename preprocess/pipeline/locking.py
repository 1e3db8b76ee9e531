"""One writer at a time for an output folder, also when the last one was killed.

A local folder is locked by the kernel, which releases the lock when the process ends. In an object store the
lock is an object that must not exist yet, and that its owner refreshes. It is stale when its owner was a
process of this machine that has ended, or when it was not refreshed for ten minutes. Taking it over is not
atomic: the process that loses the race detects it at the next refresh and stops; both would have written the
same bytes. Stores of S3, Google, Azure and memory refuse to create an object twice; with other drivers two
processes are not excluded.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...bounded import parse_object
from ...console import message
from ...errors import InputError, StgcmaError
from ...shards.files import named_errors
from ...shards.storage import LocalStore, ObjectStore, Store

LOCK_FILE = ".lock"
REFRESH_SECONDS = 30.0
STALE_SECONDS = 600.0  # far above the refresh and any difference of clocks


class Lock:
    """A held lock. `check` raises StgcmaError when another process took it over."""

    def check(self) -> None:
        """Do nothing: a lock of the kernel cannot be lost."""


@contextlib.contextmanager
def exclusive(store: Store) -> Iterator[Lock]:
    """Hold the lock of `store`.

    Raises InputError at once when another process has it, UnwritableError where no lock can be written.
    """
    if isinstance(store, ObjectStore):
        with _object_lock(store) as lock:
            yield lock
        return
    if not isinstance(store, LocalStore):
        raise TypeError(f"store is a {type(store).__name__}, there is no lock for such")
    path = store.path / LOCK_FILE
    descriptor = _lock_file(path)
    try:
        yield Lock()
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
                raise _busy(str(path.parent)) from None
            raise StgcmaError(f"{path} cannot be locked: {error.strerror}") from error
        # Its last owner may have removed the file after it was opened here; then the lock has no effect.
        if _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    opened = os.fstat(descriptor)
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return (opened.st_dev, opened.st_ino) == (there.st_dev, there.st_ino)


def _busy(location: str) -> InputError:
    return InputError(f"OUT {location} is being written by another process; wait for it or choose another")


class _ObjectLock(Lock):
    def __init__(self, store: ObjectStore, token: str) -> None:
        self._store = store
        self._token = token
        self._lost = False
        self._over = threading.Event()
        self._refresher = threading.Thread(target=self._refresh, name="lock", daemon=True)
        self._refresher.start()

    def check(self) -> None:
        """Raise StgcmaError when another process holds the lock."""
        if self._lost:
            raise StgcmaError(f"OUT {self._store} was taken over by another process; wait for it")

    def release(self) -> None:
        """Remove the lock if this process owns it."""
        self._over.set()
        self._refresher.join()
        if not self._lost:
            self._store.remove(LOCK_FILE)

    def _refresh(self) -> None:
        while not self._over.wait(REFRESH_SECONDS):
            try:
                owner = _read_owner(self._store)
                if owner.get("token") != self._token:
                    self._lost = True
                    return
                self._store.publish(LOCK_FILE, _owner_bytes(self._token))
            except StgcmaError as error:
                message(f"{error}; trying again")  # to others the lock is stale only much later


@contextlib.contextmanager
def _object_lock(store: ObjectStore) -> Iterator[Lock]:
    token = uuid.uuid4().hex
    content = _owner_bytes(token)
    if not store.create(LOCK_FILE, content):
        if not _is_stale(store):
            raise _busy(store.location)
        store.remove(LOCK_FILE)
        if not store.create(LOCK_FILE, content):
            raise _busy(store.location)
    lock = _ObjectLock(store, token)
    try:
        yield lock
    finally:
        lock.release()


def _owner_bytes(token: str) -> bytes:
    owner = {"token": token, "machine": _machine(), "pid": os.getpid(), "started": _started(os.getpid())}
    return json.dumps(owner).encode()


def _read_owner(store: ObjectStore) -> dict[str, Any]:
    try:
        return parse_object(store.read(LOCK_FILE), where=store.where(LOCK_FILE))
    except (FileNotFoundError, InputError):
        return {}


def _is_stale(store: ObjectStore) -> bool:
    owner = _read_owner(store)
    if owner.get("machine") == _machine():
        pid = owner.get("pid")
        return not isinstance(pid, int) or _started(pid) != owner.get("started")
    try:
        refreshed: datetime = store.filesystem.modified(store.object_path(LOCK_FILE))
    except FileNotFoundError:
        return True
    if refreshed.tzinfo is None:
        refreshed = refreshed.replace(tzinfo=UTC)
    return time.time() - refreshed.timestamp() > STALE_SECONDS


def _machine() -> str:
    """Return an identity of the host, its boot, and the namespace of its process numbers."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return " ".join(parts)


def _started(pid: int) -> str:
    """Return the start of a process in the kernel's ticks; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
