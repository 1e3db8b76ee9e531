"""Publishing files so that a reader sees all of one or none of it, whatever happens to the writer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def published(path: Path) -> Iterator[BinaryIO]:
    """Opens a temporary neighbour of `path` for writing; on success it becomes `path`, durably.

    Written, fsynced, renamed, folder fsynced. On an exception nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def publish(path: Path, content: bytes) -> None:
    """Writes `content` to `path` as `published` does."""
    with published(path) as stream:
        stream.write(content)


def sync_folder(folder: Path) -> None:
    """Makes the renames and removals in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
