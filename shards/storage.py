"""Where a shard directory lies: a folder of this machine, or behind a URL that fsspec knows.

Everything that reads or writes a shard directory goes through a `Store`, and names what it wants relative to
the directory (`shards/train-000000.tar`). A local folder is reached without fsspec.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..bounded import MOST_JSON_BYTES, open_plain, read_stream
from ..errors import InputError, StgcmaError
from . import files

Location = str | Path

# What fsspec calls the file systems that have folders, and take a file bit by bit.
REAL_FOLDERS = frozenset(
    {
        "arrow_hdfs",
        "dbfs",
        "ftp",
        "ftps",
        "hdfs",
        "local",
        "sftp",
        "smb",
        "ssh",
        "webHDFS",
        "webdav",
        "webhdfs",
    }
)

_LOCAL = ("file://", "local://")

_EXTRAS = {"s3": "s3", "s3a": "s3"}  # protocol to the extra of stgcma that brings its driver


class Store(ABC):
    """A folder, wherever it is. Names are relative to it and take `/` between their parts.

    Raises StgcmaError, naming the file, when the storage refuses or cannot be reached; FileNotFoundError
    where a file is not there.
    """

    @property
    @abstractmethod
    def location(self) -> str:
        """What opens this store again, here or in another process: a path or a URL."""

    @abstractmethod
    def folder(self, name: str) -> Store:
        """The store of the folder `name` in this one."""

    @abstractmethod
    def names(self) -> list[str]:
        """Every file below, sorted; of a local store also the empty folders, which end with `/`."""

    @abstractmethod
    def size_bytes(self, name: str) -> int | None:
        """The size of a file, None when there is none."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """Opens a file for reading at any place; only what is read is fetched."""

    @abstractmethod
    def published(self, name: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """A stream whose content becomes the file `name`, whole and durably, or not at all."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Removes a file if it is there."""

    @abstractmethod
    def remove_folder(self, name: str) -> None:
        """Removes a folder and all that is in it, if it is there."""

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """The size of every file right in this folder, by name."""

    @abstractmethod
    def move(self, name: str, target: str) -> None:
        """Makes the file `name` the file `target`, in this store."""

    def where(self, name: str) -> str:
        """What to call a file in messages."""
        return f"{self.location.rstrip('/')}/{name}"

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return self.size_bytes(name) is not None

    def read(self, name: str, *, most_bytes: int = MOST_JSON_BYTES) -> bytes:
        """The content of a file. Raises InputError when it is longer than `most_bytes`."""
        with self.open(name) as stream:
            return read_stream(stream, most_bytes=most_bytes, where=self.where(name))

    def publish(self, name: str, content: bytes) -> None:
        """Makes `content` the file `name`, as `published` does."""
        with self.published(name) as stream:
            stream.write(content)

    def __str__(self) -> str:
        return self.location


class LocalStore(Store):
    """A folder of this machine (or one that is mounted)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def location(self) -> str:
        """The path."""
        return str(self.path)

    def folder(self, name: str) -> LocalStore:
        """The store of the folder `name` in this one."""
        return LocalStore(self.path / name)

    def names(self) -> list[str]:
        """Every file below and every empty folder, sorted."""
        if not self.path.is_dir():
            return []
        found = []
        for path in self.path.rglob("*"):
            name = path.relative_to(self.path).as_posix()
            if path.is_symlink() or not path.is_dir():
                found.append(name)
            elif not any(path.iterdir()):
                found.append(f"{name}/")
        return sorted(found)

    def size_bytes(self, name: str) -> int | None:
        """The size of a file, None when there is none."""
        path = self.path / name
        return path.stat().st_size if path.is_file() else None

    def sizes(self) -> dict[str, int]:
        """The size of every file right in this folder, by name."""
        if not self.path.is_dir():
            return {}
        return {path.name: path.stat().st_size for path in self.path.iterdir() if path.is_file()}

    def move(self, name: str, target: str) -> None:
        """Renames a file; both folders are fsynced."""
        source, path = self.path / name, self.path / target
        with files.named_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            source.replace(path)
            files.sync_folder(path.parent)
            files.sync_folder(source.parent)

    def open(self, name: str) -> BinaryIO:
        """Opens a file for reading. Raises InputError when it is a pipe or a device."""
        return open_plain(self.path / name, where=self.where(name))

    @contextlib.contextmanager
    def published(self, name: str) -> Iterator[BinaryIO]:
        """Written beside its place, fsynced, renamed, the folder fsynced."""
        path = self.path / name
        with files.named_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with files.published(path) as stream:
            yield stream

    def remove(self, name: str) -> None:
        """Removes a file if it is there."""
        with files.named_errors(self.path / name):
            (self.path / name).unlink(missing_ok=True)

    def remove_folder(self, name: str) -> None:
        """Removes a folder and all that is in it, if it is there."""
        import shutil

        with files.named_errors(self.path / name):
            if (self.path / name).exists():
                shutil.rmtree(self.path / name)
                files.sync_folder(self.path)


class ObjectStore(Store):
    """A folder behind an fsspec URL: S3 and its like, where putting an object is atomic.

    What has real folders (see `REAL_FOLDERS`) can be read so, and not written: there a file that is being put
    is seen in parts, and its folder must be there before.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self.filesystem, self._root = _open_url(self._url)

    def check_writable(self) -> None:
        """Raises InputError where files do not appear whole or not at all."""
        protocol = self.filesystem.protocol
        kinds = {protocol} if isinstance(protocol, str) else set(protocol)
        if found := sorted(kinds & REAL_FOLDERS):
            raise InputError(
                f"{self._url} cannot be written: over {found[0]} a file is seen before it is whole; "
                "mount it and give the path, or give the URL of an object store"
            )

    @property
    def location(self) -> str:
        """The URL."""
        return self._url

    def folder(self, name: str) -> ObjectStore:
        """The store of the folder `name` in this one."""
        return ObjectStore(f"{self._url}/{name}")

    def names(self) -> list[str]:
        """Every object below, sorted."""
        with self._reaching(""):
            self.filesystem.invalidate_cache()
            try:
                found = self.filesystem.find(self._root)
            except FileNotFoundError as error:  # a folder that is not there is empty; a bucket must be there
                raise InputError(f"{self._url} cannot be listed: {error}") from None
        return sorted(name[len(self._root) :].lstrip("/") for name in found)

    def size_bytes(self, name: str) -> int | None:
        """The size of an object, None when there is none."""
        with self._reaching(name):
            self.filesystem.invalidate_cache()
            try:
                entry = self.filesystem.info(self.object_path(name))
            except FileNotFoundError:
                return None
        return int(entry["size"]) if entry["type"] == "file" else None

    def sizes(self) -> dict[str, int]:
        """The size of every object right in this folder, by name: one listing."""
        with self._reaching(""):
            self.filesystem.invalidate_cache()
            try:
                found = self.filesystem.find(self._root, maxdepth=1, detail=True)
            except FileNotFoundError:
                return {}
        return {name.rpartition("/")[2]: int(entry["size"]) for name, entry in found.items()}

    def move(self, name: str, target: str) -> None:
        """Puts a copy of an object, then removes it."""
        self.publish(target, self.read(name))
        self.remove(name)

    def open(self, name: str) -> BinaryIO:
        """Opens an object; every read is one request for its range."""
        with self._reaching(name):
            return cast(BinaryIO, self.filesystem.open(self.object_path(name), "rb", cache_type="none"))

    @contextlib.contextmanager
    def published(self, name: str) -> Iterator[BinaryIO]:
        """Gathered in a local file, which is put as a whole."""
        with tempfile.NamedTemporaryFile(prefix="stgcma-") as scratch:
            with files.named_errors(Path(scratch.name)):
                yield cast(BinaryIO, scratch)
                scratch.flush()
            with self._reaching(name, missing=True):
                self.filesystem.put_file(scratch.name, self.object_path(name))

    def create(self, name: str, content: bytes) -> bool:
        """Makes an object that must not exist yet; False when it does."""
        with self._reaching(name, missing=True):
            try:
                self.filesystem.pipe_file(self.object_path(name), content, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                if "PreconditionFailed" in f"{error!r} {error.__cause__!r}" or "pre-condition" in str(error):
                    return False
                raise
        return True

    def remove(self, name: str) -> None:
        """Removes an object if it is there."""
        with self._reaching(name), contextlib.suppress(FileNotFoundError):
            self.filesystem.rm_file(self.object_path(name))

    def remove_folder(self, name: str) -> None:
        """Removes all objects below `name`."""
        for below in self.folder(name).names():
            self.remove(f"{name}/{below}")

    def fetch(self, name: str, target: Path) -> None:
        """Copies an object into the local file `target`.

        Raises UnwritableError naming `target` when the local disk is full.
        """
        with self._reaching(name):
            try:
                self.filesystem.get_file(self.object_path(name), str(target))
            except OSError as error:
                if error.errno not in files.LOCAL_ERRORS:
                    raise
                with files.named_errors(target):
                    raise

    def object_path(self, name: str) -> str:
        """What the file system calls an object."""
        return f"{self._root}/{name}" if name else self._root

    @contextlib.contextmanager
    def _reaching(self, name: str, *, missing: bool = False) -> Iterator[None]:
        """Drivers raise errors of their own making; each becomes one line that names the object.

        But for FileNotFoundError, which is an answer; `missing` where nothing need be there.
        """
        try:
            yield
        except StgcmaError:
            raise
        except Exception as error:
            if isinstance(error, FileNotFoundError) and not missing:
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise StgcmaError(f"{self.where(name)} cannot be reached: {reason}") from error


def open_store(location: Location) -> Store:
    """The store at `location`, a path or an fsspec URL. Nothing is made or looked up there.

    Raises InputError for a URL whose protocol is unknown or whose driver is not installed.
    """
    text = str(location)
    # A Path takes one of the two slashes away.
    if isinstance(location, Path) and (match := re.match(r"([a-z][a-z0-9+.:-]+):/(?!/)", text)):
        text = f"{match[1]}://{text[match.end() :]}"
    if "://" not in text:
        return LocalStore(Path(location))
    if text.startswith(_LOCAL):
        return LocalStore(Path(text.split("://", 1)[1]))
    return ObjectStore(text)


def absolute(location: Location) -> str:
    """What opens the store at `location` from any working folder."""
    return str(location) if is_url(location) else str(Path(open_store(location).location).resolve())


def is_url(location: Location) -> bool:
    """Whether `location` is reached through fsspec."""
    return isinstance(open_store(location), ObjectStore)


def _open_url(url: str) -> tuple[Any, str]:
    import fsspec.core

    protocol = url.split("://", 1)[0]
    try:
        filesystem, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        how = f"pip install 'stgcma[{extra}]'" if extra else "install the fsspec driver it names"
        raise InputError(f"{url} cannot be opened: {error}; {how}") from None
    except ValueError as error:
        raise InputError(f"{url} cannot be opened: {error}; give a path or an fsspec URL") from None
    return filesystem, str(root).rstrip("/")
