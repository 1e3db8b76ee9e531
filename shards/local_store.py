"""A shard directory in a local or mounted folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..bounded import open_plain
from . import files
from .store import Store


class LocalStore(Store):
    """A folder of this machine (or one that is mounted)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def location(self) -> str:
        """The path."""
        return str(self.path)

    def folder(self, name: str) -> LocalStore:
        """Return the store of the folder `name` in this one."""
        return LocalStore(self.path / name)

    def names(self) -> list[str]:
        """Return the names of all files and empty folders below, sorted."""
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
        """Return the size of a file; None when it does not exist."""
        path = self.path / name
        return path.stat().st_size if path.is_file() else None

    def sizes(self) -> dict[str, int]:
        """Return the sizes of the files directly in this folder, by name."""
        if not self.path.is_dir():
            return {}
        return {path.name: path.stat().st_size for path in self.path.iterdir() if path.is_file()}

    def move(self, name: str, target: str) -> None:
        """Rename a file and fsync both folders."""
        source, path = self.path / name, self.path / target
        with files.named_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            source.replace(path)
            files.sync_folder(path.parent)
            files.sync_folder(source.parent)

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading. Raises InputError for a pipe or a device."""
        return open_plain(self.path / name, where=self.where(name))

    @contextlib.contextmanager
    def published(self, name: str) -> Iterator[BinaryIO]:
        """Open a temporary file beside the target; it is fsynced and renamed, and the folder fsynced."""
        path = self.path / name
        with files.named_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with files.published(path) as stream:
            yield stream

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        with files.named_errors(self.path / name):
            (self.path / name).unlink(missing_ok=True)

    def remove_folder(self, name: str) -> None:
        """Remove a folder with its content, if it exists."""
        import shutil

        with files.named_errors(self.path / name):
            if (self.path / name).exists():
                shutil.rmtree(self.path / name)
                files.sync_folder(self.path)
