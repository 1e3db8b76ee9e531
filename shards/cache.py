"""Local cache of shards behind a URL."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..console import message
from .files import UnwritableError, named_errors
from .storage import Location, ObjectStore, open_store

_RESERVED = ".size"
_FOLDER = re.compile(r"[0-9a-f]{20}")
# A shard; a part of one under a temporary name, and the mark of that.
_FILE = re.compile(rf"[a-z]+-[0-9]{{6}}\.tar|\.[a-z]+-[0-9]{{6}}\.tar\.\w+(?:{re.escape(_RESERVED)})?")


@dataclass(frozen=True)
class ShardCache:
    """Local copies of the shards at one location.

    Attributes:
        folder: of the copies.
        root: folder of the copies of all locations, which `most_bytes` limits.
        most_bytes: size of all copies beyond which whole shards are removed, least recently opened first;
            None for no limit. A shard that a process has open is never removed.
    """

    folder: Path
    root: Path
    most_bytes: int | None = None


def cache_folder(
    location: Location, fingerprint: str, *, root: str | None = None, most_bytes: int | None = None
) -> ShardCache | None:
    """Return the cache of the shards at `location`; None for a local directory, which needs none.

    Other content behind the same URL has another `fingerprint`, and so another folder. `root` is the user's
    cache folder when not given.
    """
    store = open_store(location)
    if not isinstance(store, ObjectStore):
        return None
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    base = Path(root) if root is not None else Path(home) / "stgcma" / "shards"
    name = hashlib.sha256(f"{store.location} {fingerprint}".encode()).hexdigest()[:20]
    return ShardCache(base / name, base, most_bytes)


def open_kept(store: ObjectStore, name: str, cache: ShardCache, *, anew: bool = False) -> BinaryIO:
    """Open the file `name` of `store` from `cache`, after fetching it if it is not there yet.

    Until it is closed, no process removes it. With `anew`, a damaged copy is named on stderr and replaced.
    Several processes may do so at once. Raises as `Store.open`, and UnwritableError naming the cache when it
    cannot be written.
    """
    kept = cache.folder / name
    if anew:
        message(f"the shard cache holds a damaged copy, {kept}; it is fetched again")
        kept.unlink(missing_ok=True)
    while True:
        try:
            stream = kept.open("rb")
        except FileNotFoundError:
            _fetch(store, name, kept, cache)
            continue  # it may be removed again at once, where the limit is small
        with contextlib.suppress(OSError):  # a cache that cannot be written; a file system without locks
            fcntl.flock(stream, fcntl.LOCK_SH)
            os.utime(stream.fileno())
        return stream


def _fetch(store: ObjectStore, name: str, kept: Path, cache: ShardCache) -> None:
    size = 0 if cache.most_bytes is None else store.size_bytes(name) or 0
    with _named_cache():
        with named_errors(kept):
            kept.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=kept.parent, prefix=f".{kept.name}.")
            os.close(descriptor)
        try:
            with _reserved(cache, Path(temporary + _RESERVED), size):
                store.fetch(name, Path(temporary))
                with named_errors(kept):
                    Path(temporary).replace(kept)
        finally:
            Path(temporary).unlink(missing_ok=True)


@contextlib.contextmanager
def _reserved(cache: ShardCache, place: Path, size: int) -> Iterator[None]:
    """Hold `size` bytes of the cache, after removing shards that nobody reads. `place` is the mark of that.

    The limit is exceeded, with a message, when every other shard is being read.
    """
    if cache.most_bytes is None:
        yield
        return
    with _locked(cache.root / ".lock", fcntl.LOCK_EX):
        total = _make_space(cache, size)
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, size)  # it takes no space, and tells other processes the size
    if total + size > cache.most_bytes:
        _message_once(
            f"the shards that are being read take {total + size:,} bytes of {cache.root}, more than "
            f"data.cache_bytes, {cache.most_bytes:,}"
        )
    try:
        yield
    finally:
        place.unlink(missing_ok=True)
        os.close(descriptor)


def _make_space(cache: ShardCache, size: int) -> int:
    """Remove shards until `size` bytes are free, or all others are in use; return the size of these.

    What a killed process was fetching is removed first. Files that are not of a cache are never touched.
    """
    copies: list[tuple[float, Path, int]] = []
    total = 0
    for path in _own_files(cache.root):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            if path.name.endswith(_RESERVED):
                if _is_locked(path, remove=True):
                    total += status.st_size
                else:
                    path.with_name(path.name.removesuffix(_RESERVED)).unlink(missing_ok=True)
            elif not path.name.startswith("."):  # one that is being fetched is reserved
                copies.append((status.st_mtime, path, status.st_size))
                total += status.st_size
    for _, path, bytes_of in sorted(copies):
        if total + size <= (cache.most_bytes or 0):
            break
        if not _is_locked(path, remove=True):
            total -= bytes_of
    return total


def _own_files(root: Path) -> Iterator[Path]:
    """Yield the copies, partial copies and marks of all caches in `root`, in no folder but theirs."""
    for folder in root.iterdir():
        if not _FOLDER.fullmatch(folder.name) or folder.is_symlink():
            continue
        for below, _, names in os.walk(folder):  # follows no links
            for path in (Path(below, name) for name in names if _FILE.fullmatch(name)):
                if path.is_file() and not path.is_symlink():
                    yield path


def _is_locked(path: Path, *, remove: bool = False) -> bool:
    """Tell whether a process has the file locked; with `remove`, remove it when none has."""
    with path.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        if remove:
            path.unlink(missing_ok=True)
        return False


@contextlib.contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    with path.open("a") as stream:
        fcntl.flock(stream, kind)
        yield


@functools.cache
def _message_once(text: str) -> None:
    message(text)


@contextlib.contextmanager
def _named_cache() -> Iterator[None]:
    try:
        yield
    except UnwritableError as error:
        raise UnwritableError(
            f"the shard cache takes no files: {error}; data.cache sets its folder"
        ) from error
