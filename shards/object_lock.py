"""The lock of a directory in an object store, which two hosts cannot both hold.

The lock is an object that is created only where there is none: `.lock`, or after a take-over `.lock-000001`
and so on. Its owner rewrites it at intervals. Another host watches it: when it does not change for
`STALE_SECONDS` of the watcher's own clock, its owner is taken for dead, and the watcher creates the next
generation, which only one can. So clocks of hosts are not compared, and the store needs no more than creation
without overwriting, which those of S3, Google, Azure and memory have. A store that ignores the condition is
recognised, and refused: the lock can be created a second time.

An owner that is taken over finds a later generation at its next rewriting, and stops; before that, it writes
the same bytes as its successor.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..bounded import parse_object
from ..console import message
from ..errors import InputError, StgcmaError
from .storage import ObjectStore

LOCK_FILE = ".lock"
LOCK_NAME = re.compile(rf"{re.escape(LOCK_FILE)}(?:-([0-9]{{6}}))?")
REFRESH_SECONDS = 10.0
STALE_SECONDS = 90.0
POLL_SECONDS = 2.0
_TRIES = 5
_DAMAGED = "damaged"  # in place of the token of a lock that cannot be read


class ObjectLock:
    """A held lock, which a thread rewrites."""

    def __init__(self, store: ObjectStore, name: str, token: str) -> None:
        self._store = store
        self._name = name
        self._token = token
        self._lost = False
        self._beats = 0
        self._rewritten = time.monotonic()
        self._over = threading.Event()
        self._refresher = threading.Thread(target=self._refresh, name="lock", daemon=True)
        self._refresher.start()

    def check(self) -> None:
        """Raise StgcmaError when another process holds the lock, or may hold it."""
        if self._lost:
            raise StgcmaError(f"OUT {self._store} was taken over by another process; wait for it")
        if not self._is_fresh():
            raise StgcmaError(
                f"the lock of OUT {self._store} could not be renewed for {STALE_SECONDS / 2:g} s: another "
                "process may have taken it over; run the same command again"
            )

    def release(self) -> None:
        """Remove the lock if this process owns it."""
        self._over.set()
        self._refresher.join()
        # One that was not rewritten for long may be another's by now.
        if self._is_fresh() and self._is_own():
            self._store.remove(self._name)

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._rewritten < STALE_SECONDS / 2

    def _is_own(self) -> bool:
        return _read_owner(self._store, self._name).get("token") == self._token

    def _refresh(self) -> None:
        while not self._over.wait(REFRESH_SECONDS):
            try:
                names = _generations(self._store)
                if not names or names[-1] != self._name or not self._is_own():
                    self._lost = True
                    return
                self._beats += 1
                self._store.publish(self._name, _owner_bytes(self._token, self._beats))
                self._rewritten = time.monotonic()
            except (StgcmaError, OSError) as error:
                message(f"{error}; trying again")  # to others the lock is stale only much later


@contextlib.contextmanager
def object_lock(store: ObjectStore) -> Iterator[ObjectLock]:
    """Hold the lock of `store`. Raises InputError when another process has it."""
    lock = _take(store)
    try:
        yield lock
    finally:
        lock.release()


def first_held(stores: Iterable[ObjectStore]) -> ObjectStore | None:
    """Return a store whose lock is held; None when there is none.

    Locks of other machines are watched together. Locks whose owners are gone are removed.
    """
    gone: list[tuple[ObjectStore, list[str]]] = []
    watched: list[tuple[ObjectStore, list[str], dict[str, Any]]] = []
    for store in stores:
        names = _generations(store)
        owner = _read_owner(store, names[-1]) if names else {}
        if owner and owner.get("machine") != _machine():
            watched.append((store, names, owner))
        elif owner and _is_running(owner):
            return store
        else:
            gone.append((store, names))
    if watched:
        where = watched[0][0].where(watched[0][1][-1])
        _say_waiting(f"{where} and {len(watched) - 1} others are" if watched[1:] else f"{where} is")
    began = time.monotonic()
    while watched and time.monotonic() - began < STALE_SECONDS:
        time.sleep(POLL_SECONDS)
        for each in list(watched):
            store, names, owner = each
            now = _read_owner(store, names[-1])
            if now != owner:
                if now or _generations(store):
                    return store
                watched.remove(each)  # it was released
    for store, names in [*gone, *((store, names) for store, names, _ in watched)]:
        for name in names:
            store.remove(name)
    return None


def _take(store: ObjectStore) -> ObjectLock:
    for _ in range(_TRIES):
        names = _generations(store)
        stale = _stale_token(store, names[-1]) if names else ""
        if stale is None:
            raise busy(store.location)
        if names and not stale:
            continue  # it was released meanwhile
        token, number = uuid.uuid4().hex, _number(names[-1]) + 1 if names else 0
        name = LOCK_FILE if number == 0 else f"{LOCK_FILE}-{number:06d}"
        if not store.create(name, _owner_bytes(token)):
            raise busy(store.location)
        if _overwrites(store, name):
            store.remove(name)
            raise InputError(
                f"{store} cannot be written: the store ignores the condition that an object must not exist "
                "(If-None-Match), so two hosts could both take the lock; write to a folder and copy it"
            )
        if _is_contested(store, name, names, stale):
            store.remove(name)
            raise busy(store.location)
        for former in names:
            store.remove(former)
        return ObjectLock(store, name, token)
    raise busy(store.location)


def _overwrites(store: ObjectStore, name: str) -> bool:
    """Tell whether the store replaces the lock `name`, which exists, by a creation that must not overwrite.

    Two creations, because another process may remove the lock before one of them.
    """
    return all(store.create(name, _owner_bytes(uuid.uuid4().hex)) for _ in range(2))


def _is_contested(store: ObjectStore, name: str, former: list[str], stale: str) -> bool:
    """Tell whether another process has begun since the lock was found stale or missing."""
    others = [each for each in _generations(store) if each != name]
    if any(each not in former for each in others):
        return True
    newest = former[-1] if former else None
    return newest in others and _read_owner(store, str(newest)).get("token", _DAMAGED) != stale


def _stale_token(store: ObjectStore, name: str) -> str | None:
    """Return the token of a lock whose owner is gone, None when it is held, and "" when it is released.

    A process of this machine is looked up. Another one's lock is watched.
    """
    owner = _read_owner(store, name)
    if not owner:
        return _DAMAGED if store.exists(name) else ""
    token = str(owner.get("token", _DAMAGED))
    if owner.get("machine") == _machine():
        return None if _is_running(owner) else token
    _say_waiting(f"{store.where(name)} is")
    began = time.monotonic()
    while time.monotonic() - began < STALE_SECONDS:
        time.sleep(POLL_SECONDS)
        now = _read_owner(store, name)
        if not now:
            return ""
        if now != owner:
            return None
    return token


def _say_waiting(locks_are: str) -> None:
    message(
        f"{locks_are} of another machine; waiting for at most {STALE_SECONDS:g} s to see whether "
        "its process is at work"
    )


def _is_running(owner: dict[str, Any]) -> bool:
    """Tell whether the owner of a lock, a process of this machine, is running."""
    pid = owner.get("pid")
    return isinstance(pid, int) and _started(pid) == owner.get("started")


def busy(location: str) -> InputError:
    """Return the error for a directory that another process writes."""
    return InputError(f"OUT {location} is being written by another process; wait for it or choose another")


def _generations(store: ObjectStore) -> list[str]:
    return sorted(filter(LOCK_NAME.fullmatch, store.sizes()), key=_number)


def _number(name: str) -> int:
    match = LOCK_NAME.fullmatch(name)
    return int(match[1] or 0) if match else 0


def _owner_bytes(token: str, beats: int = 0) -> bytes:
    owner = {
        "token": token,
        "machine": _machine(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "beats": beats,
    }
    return json.dumps(owner).encode()


def _read_owner(store: ObjectStore, name: str) -> dict[str, Any]:
    try:
        return parse_object(store.read(name), where=store.where(name))
    except (FileNotFoundError, InputError):
        return {}


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
