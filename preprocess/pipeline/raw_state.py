"""State of the files below RAW that the reading of a collection depends on.

A collection's clips follow from the names below RAW and from the content of its annotation files. Names are
settled by the states of the folders, a file's content by its state: kind, device, inode, size, and the times
of the last changes of content and of inode, to the nanosecond. The latter time cannot be set.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .raw_storage import ANNOTATION_SUFFIXES

# File systems count time in steps of up to two seconds, and a file server's clock may differ.
SETTLED_SECONDS = 60.0
_MOST_PATHS = 300_000  # finding and comparing more takes as long as reading a collection again
_Stat = tuple[int, ...]


@dataclass(frozen=True)
class RawState:
    """The paths that count, and a hash of their states.

    Attributes:
        paths: relative to RAW, joined by zero bytes and compressed.
        sha256: of all states.
        newest_ns: time of the latest change.
    """

    paths: bytes
    sha256: str
    newest_ns: int

    def is_settled(self, now_ns: int) -> bool:
        """Tell whether the latest change is so long ago that another one has another time."""
        return self.newest_ns < now_ns - int(SETTLED_SECONDS * 1e9)

    def holds(self, raw: Path) -> bool:
        """Tell whether the states of the paths below `raw` are those of this object."""
        try:
            paths = zlib.decompress(self.paths).decode("utf-8", "surrogateescape").split("\0")
        except (zlib.error, ValueError):
            return False
        return _states(raw, paths)[0] == self.sha256


def raw_state(raw: Path, *, every_file: bool) -> RawState | None:
    """Return the state of RAW; None when there are too many folders and links to compare them quickly.

    With `every_file`, files that are no annotations count as well. None as well where a file system does not
    tell that names were added to a folder, and where a folder cannot be listed although it may be.
    """
    paths = []
    try:
        for path in _paths(str(raw), every_file=every_file):
            paths.append(path)
            if len(paths) > _MOST_PATHS:
                return None
    except OSError:
        return None
    sha256, newest = _states(raw, paths)
    joined = "\0".join(paths).encode("utf-8", "surrogateescape")
    return RawState(zlib.compress(joined, 1), sha256, newest)


def _paths(raw: str, *, every_file: bool) -> Iterator[str]:
    """Yield all folders and links below `raw`, also behind links, and annotation files."""
    remaining, seen, untold = [""], set(), _fuse_devices()
    while remaining:
        folder = remaining.pop()
        yield folder
        try:
            found = os.stat(f"{raw}/{folder}")  # noqa: PTH116 (a million folders)
            if (found.st_dev, found.st_ino) in seen:
                continue
            seen.add((found.st_dev, found.st_ino))
            if found.st_dev in untold:
                raise OSError(f"the times of {folder} do not tell what is added to it")
            with os.scandir(f"{raw}/{folder}") as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_symlink():
                        yield path
                    if _is_folder(entry):
                        remaining.append(path)
                    elif every_file or os.path.splitext(entry.name)[1].lower() in ANNOTATION_SUFFIXES:  # noqa: PTH122
                        yield path
        except PermissionError:
            continue  # when that changes, the folder's state does


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder that may not be entered
        return False


def _fuse_devices() -> frozenset[int]:
    """Return the devices of file systems that are programs, as of buckets: their folders have any times."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    found = set()
    for line in lines:
        mount, _, system = line.partition(" - ")
        major, _, minor = mount.split()[2].partition(":")
        if system.split()[0].split(".")[0] == "fuse":  # `fuseblk` is a disk
            found.add(os.makedev(int(major), int(minor)))
    return frozenset(found)


def _states(raw: Path, paths: Iterable[str]) -> tuple[str, int]:
    """Return the hash of the states of `paths`, and the time of the latest change."""
    digest, newest = hashlib.sha256(os.path.realpath(raw).encode("utf-8", "surrogateescape")), 0
    for path in paths:
        states, target = _state(f"{raw}/{path}")
        digest.update(repr((path, states, target)).encode("utf-8", "surrogateescape"))
        newest = max(newest, *(each[-1] for each in states), *(each[-2] for each in states))
    return digest.hexdigest(), newest


def _state(path: str) -> tuple[list[_Stat], str]:
    """Return the state of a path, and for a link also that of its target and the target's name."""
    states, target = [], ""
    try:
        found = os.lstat(path)
        states.append(_values(found))
        if stat.S_ISLNK(found.st_mode):
            target = os.readlink(path)  # noqa: PTH115
            states.append(_values(os.stat(path)))  # noqa: PTH116
    except OSError as error:
        states.append((error.errno or 0, 0, 0))
    return states, target


def _values(found: os.stat_result) -> _Stat:
    return (
        found.st_mode, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns,
    )  # fmt: skip
