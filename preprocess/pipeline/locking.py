"""One writer at a time for an output folder, also when the last one was killed.

A local folder is locked by the kernel, which lets go when the process ends. An object store knows no
processes: there the lock is an object that must not exist yet, refreshed while its owner lives. It is stale
when its owner was a process of this machine that is gone, or when it was not refreshed for ten minutes.
Taking a stale lock over is not atomic; whoever loses that race sees it at the next refresh and stops. Both
would have written the same bytes. S3, Google's and Azure's stores and memory refuse to make an object twice;
where a driver cannot, nothing keeps two processes apart.
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
    """A lock that is held. `check` raises StgcmaError when it was lost to another process."""

    def check(self) -> None:
        """Does nothing where a lock cannot be lost."""


@contextlib.contextmanager
def exclusive(store: Store) -> Iterator[Lock]:
    """Holds the lock of `store`.

    Raises InputError at once when another process has it, UnwritableError where no lock can be made.
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
        path.unlink(missing_ok=True)  # while it is held: nobody else can have locked this very file
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
        # Its last owner may have removed it after it was opened here; then it guards nothing.
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
        """Raises StgcmaError when another process holds the lock by now."""
        if self._lost:
            raise StgcmaError(f"OUT {self._store} was taken over by another process; wait for it")

    def release(self) -> None:
        """Removes the lock if it is this one."""
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
                message(f"{error}; trying again")  # others take the lock for stale only much later


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
    """Which host, since it was last started, and in which container process numbers are seen."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return " ".join(parts)


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
