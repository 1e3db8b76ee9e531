"""Location of a shard directory: a folder of this machine, or a URL that fsspec can open.

Everything that reads or writes a shard directory goes through a `Store`, with names relative to the directory
(`shards/train-000000.tar`). A local folder is accessed without fsspec.
"""

from __future__ import annotations

import re
from pathlib import Path

from .local_store import LocalStore
from .object_store import ObjectStore
from .store import Store

__all__ = ["LocalStore", "Location", "ObjectStore", "Store", "absolute", "is_url", "open_store"]

Location = str | Path

_LOCAL = ("file://", "local://")
_HUB_NAME = "hf:datasets/"


def open_store(location: Location) -> Store:
    """Return the store at `location`, a path or an fsspec URL, without accessing it.

    Raises InputError for a URL whose protocol is unknown or whose driver is not installed.
    """
    text = str(location)
    # A Path takes one of the two slashes away.
    if isinstance(location, Path) and (match := re.match(r"([a-z][a-z0-9+.:-]+):/(?!/)", text)):
        text = f"{match[1]}://{text[match.end() :]}"
    if text.startswith(_HUB_NAME):
        text = text.replace(":", "://", 1)  # as `stgcma push` takes it
    if "://" not in text:
        return LocalStore(Path(location))
    if text.startswith(_LOCAL):
        return LocalStore(Path(text.split("://", 1)[1]))
    return ObjectStore(text)


def absolute(location: Location) -> str:
    """Return `location` as a URL or an absolute path."""
    return str(location) if is_url(location) else str(Path(open_store(location).location).resolve())


def is_url(location: Location) -> bool:
    """Tell whether `location` is accessed through fsspec."""
    return isinstance(open_store(location), ObjectStore)
