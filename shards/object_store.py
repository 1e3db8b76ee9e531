"""A shard directory behind an fsspec URL."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..errors import InputError, StgcmaError
from . import files
from .retries import Result, RetriedFile, retried
from .store import Store

# fsspec's names of file systems with real folders, where a file is visible while it is written.
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

READ_ONLY = frozenset({"http", "https"})
# Every file that is put there would be a commit.
PUSHED_TO = frozenset({"hf"})

HUB_LOGIN = "log in with `hf auth login`, or set HF_TOKEN"
"""Advice about repositories of the Hub that need an account."""

_EXTRAS = {"s3": "s3", "s3a": "s3", "hf": "hub"}  # protocol to the extra of stgcma that brings its driver


class ObjectStore(Store):
    """A folder behind an fsspec URL: S3 and similar stores, where putting an object is atomic.

    File systems with real folders (`REAL_FOLDERS`) can be read but not written: there, a file is visible
    before it is complete.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self.filesystem, self._root = _open_url(self._url)

    def check_writable(self) -> None:
        """Raise InputError for a file system where files are visible before they are complete.

        Also for one whose driver cannot create a file only where there is none, which locks need.
        """
        protocol = self.filesystem.protocol
        kinds = {protocol} if isinstance(protocol, str) else set(protocol)
        if found := sorted(kinds & READ_ONLY):
            raise InputError(
                f"{self._url} cannot be written: over {found[0]} files can be read only; give a path, or the "
                "URL of an object store"
            )
        if kinds & PUSHED_TO:
            raise InputError(
                f"{self._url} cannot be written file by file; make the shards in a folder, then "
                "`stgcma push OUT hf:datasets/ORG/NAME`"
            )
        if found := sorted(kinds & REAL_FOLDERS):
            raise InputError(
                f"{self._url} cannot be written: over {found[0]} a file is seen before it is whole; "
                "mount it and give the path, or give the URL of an object store"
            )
        if self._creates_by_looking():
            raise InputError(
                f"{self._url} cannot be written: its driver, {type(self.filesystem).__name__}, cannot create "
                "an object only where there is none, so two hosts could both take the lock; write to a "
                "folder and copy it"
            )

    def _creates_by_looking(self) -> bool:
        """Tell whether the driver has fsspec's general way of creating: look for the file, then write it."""
        import fsspec

        general = fsspec.AbstractFileSystem.pipe_file
        return not self.filesystem.async_impl and type(self.filesystem).pipe_file is general

    @property
    def lists_names(self) -> bool:
        """False for a web server, which need not allow it."""
        protocol = self.filesystem.protocol
        return not READ_ONLY & ({protocol} if isinstance(protocol, str) else set(protocol))

    @property
    def location(self) -> str:
        """The URL."""
        return self._url

    def folder(self, name: str) -> ObjectStore:
        """Return the store of the folder `name` in this one."""
        return ObjectStore(f"{self._url}/{name}")

    def names(self) -> list[str]:
        """Return the names of all objects below, sorted.

        A web server lists none: behind it, they are those of the tables, of the shards in the manifest and
        of the columns in their index.
        """
        if not self.lists_names:
            return self._names_in_manifest()
        return sorted(map(self._relative, self._found(detail=False)))

    def all_sizes(self) -> dict[str, int]:
        """Return the sizes of all objects below, by name, with one listing; not for a web server."""
        return {self._relative(name): int(each["size"]) for name, each in self._found(detail=True).items()}

    def _relative(self, name: str) -> str:
        return name[len(self._root) :].lstrip("/")

    def _found(self, *, detail: bool) -> Any:
        """Return the driver's names of all objects below; with `detail`, what it knows of each, by name."""
        with self._reaching(""):
            self.filesystem.invalidate_cache()
            try:
                return self._asked(lambda: self.filesystem.find(self._root, detail=detail))
            except FileNotFoundError as error:  # a missing folder is empty, a missing bucket is an error
                raise InputError(f"{self._url} cannot be listed: {error}") from None

    def _names_in_manifest(self) -> list[str]:
        from .columns import unlisted_column_files
        from .manifest import read_columns
        from .schema import DATASET_FILE, MANIFEST_FILE, PLANNED_FILE, QUARANTINE_FILE, SHARD_FOLDER

        names = {DATASET_FILE, MANIFEST_FILE, PLANNED_FILE, QUARANTINE_FILE}
        with contextlib.suppress(InputError):
            (shards,) = read_columns(self._url, ("shard",))
            names |= {f"{SHARD_FOLDER}/{shard}" for shard in shards}
        names.update(unlisted_column_files(self))
        return sorted(filter(self.exists, names))

    def size_bytes(self, name: str) -> int | None:
        """Return the size of an object; None when it does not exist."""
        with self._reaching(name):
            self.filesystem.invalidate_cache()
            try:
                entry = self._asked(lambda: self.filesystem.info(self.object_path(name)))
            except FileNotFoundError:
                return None
        return int(entry["size"]) if entry["type"] == "file" else None

    def sizes(self) -> dict[str, int]:
        """Return the sizes of the objects directly in this folder, by name, with one listing."""
        with self._reaching(""):
            self.filesystem.invalidate_cache()
            try:
                found = self._asked(lambda: self.filesystem.find(self._root, maxdepth=1, detail=True))
            except FileNotFoundError:
                return {}
        return {name.rpartition("/")[2]: int(entry["size"]) for name, entry in found.items()}

    def move(self, name: str, target: str) -> None:
        """Copy an object, then remove the original."""
        self.publish(target, self.read(name))
        self.remove(name)

    def open(self, name: str) -> BinaryIO:
        """Open an object; every read is one request for its range."""
        with self._reaching(name):
            path = self.object_path(name)
            file = self._asked(lambda: self.filesystem.open(path, "rb", cache_type="none"))
        return cast(BinaryIO, RetriedFile(file, lambda: self._reaching(name)))

    @contextlib.contextmanager
    def published(self, name: str) -> Iterator[BinaryIO]:
        """Open a local temporary file, which is then uploaded at once."""
        with tempfile.NamedTemporaryFile(prefix="stgcma-") as scratch:
            with files.named_errors(Path(scratch.name)):
                yield cast(BinaryIO, scratch)
                scratch.flush()
            with self._reaching(name, missing=True):
                retried(lambda: self.filesystem.put_file(scratch.name, self.object_path(name)))

    def create(self, name: str, content: bytes) -> bool:
        """Create an object; return False when it exists already.

        `content` is unique: an object that has it was created by a request whose answer was lost.
        """
        with self._reaching(name, missing=True):
            try:
                retried(lambda: self.filesystem.pipe_file(self.object_path(name), content, mode="create"))
            except FileExistsError:
                return self._holds(name, content)
            except OSError as error:
                if "PreconditionFailed" in f"{error!r} {error.__cause__!r}" or "pre-condition" in str(error):
                    return self._holds(name, content)
                raise
        return True

    def _holds(self, name: str, content: bytes) -> bool:
        try:
            return self.read(name) == content
        except FileNotFoundError:
            return False

    def remove(self, name: str) -> None:
        """Remove an object, if it exists."""
        with self._reaching(name), contextlib.suppress(FileNotFoundError):
            retried(lambda: self.filesystem.rm_file(self.object_path(name)))

    def remove_folder(self, name: str) -> None:
        """Remove all objects below `name`."""
        for below in self.folder(name).names():
            self.remove(f"{name}/{below}")

    def fetch(self, name: str, target: Path) -> None:
        """Copy an object to the local file `target`.

        Raises UnwritableError naming `target` when the local disk is full.
        """
        with self._reaching(name):
            try:
                self._asked(lambda: self.filesystem.get_file(self.object_path(name), str(target)))
            except OSError as error:
                if error.errno not in files.LOCAL_ERRORS:
                    raise
                with files.named_errors(target):
                    raise

    def object_path(self, name: str) -> str:
        """Return the file system's path of an object."""
        return f"{self._root}/{name}" if name else self._root

    def _asked(self, request: Callable[[], Result]) -> Result:
        """Return the result of a request for an object, repeated as by `retried`.

        Raises FileNotFoundError, but InputError where a repository of the Hub is missing or closed.
        """
        try:
            return retried(request)
        except FileNotFoundError as error:
            kinds = {kind.__name__ for kind in type(error.__cause__).__mro__}
            if "RepositoryNotFoundError" in kinds:
                raise InputError(
                    f"{self._url} does not exist, or is private and this account may not read it: {HUB_LOGIN}"
                ) from error
            if "RevisionNotFoundError" in kinds:
                raise InputError(f"{self._url}: the repository has no such revision") from error
            raise

    @contextlib.contextmanager
    def _reaching(self, name: str, *, missing: bool = False) -> Iterator[None]:
        """Turn errors of a driver into a StgcmaError of one line that names the object.

        FileNotFoundError passes through, unless `missing`, where the object need not exist.
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
