"""One file of a push."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..bounded import open_plain


@dataclass(frozen=True)
class PushedFile:
    """A file as it is pushed.

    Attributes:
        name: its path in the repository.
        content: the bytes, or the file of this machine that is pushed as it is.
    """

    name: str
    content: bytes | Path

    @property
    def size_bytes(self) -> int:
        """The size of the content."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    def open(self) -> BinaryIO:
        """Open the content for reading."""
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else open_plain(self.content)

    def read(self) -> bytes:
        """Return the content."""
        with self.open() as stream:
            return stream.read()
