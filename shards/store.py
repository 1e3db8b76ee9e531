"""The interface through which all code reads and writes a shard directory."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from typing import BinaryIO

from ..bounded import MOST_JSON_BYTES, read_stream


class Store(ABC):
    """A local or remote folder. Names are relative to it, with `/` between their parts.

    Methods raise StgcmaError, naming the file, when the storage fails or cannot be reached, and
    FileNotFoundError for a file that does not exist.
    """

    @property
    @abstractmethod
    def location(self) -> str:
        """The path or URL that opens this store, also from another process."""

    @property
    def lists_names(self) -> bool:
        """True where the names in a folder can be listed, which a web server need not allow."""
        return True

    @abstractmethod
    def folder(self, name: str) -> Store:
        """Return the store of the folder `name` in this one."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return all files below, sorted; a local store adds empty folders, which end with `/`."""

    @abstractmethod
    def size_bytes(self, name: str) -> int | None:
        """Return the size of a file; None when it does not exist."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """Open a file for reading and seeking; only the ranges that are read are fetched."""

    @abstractmethod
    def published(self, name: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """Open a stream whose content becomes the file `name`, completely and durably, or not at all."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""

    @abstractmethod
    def remove_folder(self, name: str) -> None:
        """Remove a folder with its content, if it exists."""

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Return the sizes of the files directly in this folder, by name."""

    @abstractmethod
    def move(self, name: str, target: str) -> None:
        """Rename the file `name` to `target`."""

    def where(self, name: str) -> str:
        """Return the full path or URL of a file, for messages."""
        return f"{self.location.rstrip('/')}/{name}"

    def exists(self, name: str) -> bool:
        """Tell whether the file exists."""
        return self.size_bytes(name) is not None

    def read(self, name: str, *, most_bytes: int = MOST_JSON_BYTES) -> bytes:
        """Return the content of a file. Raises InputError when it is longer than `most_bytes`."""
        with self.open(name) as stream:
            return read_stream(stream, most_bytes=most_bytes, where=self.where(name))

    def publish(self, name: str, content: bytes) -> None:
        """Write `content` to the file `name` as `published` does."""
        with self.published(name) as stream:
            stream.write(content)

    def __str__(self) -> str:
        return self.location
