"""Shards from behind a URL, kept in a local folder after they were fetched once."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import BinaryIO

from .files import named_errors
from .storage import Location, ObjectStore, open_store


def cache_folder(location: Location, fingerprint: str, *, root: str | None = None) -> Path | None:
    """Where the shards at `location` are kept; None for a local directory, which needs no cache.

    Other content behind the same URL has another `fingerprint`, and so another folder. `root` is the user's
    cache folder when not given. Nothing is ever removed from it.
    """
    store = open_store(location)
    if not isinstance(store, ObjectStore):
        return None
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    base = Path(root) if root is not None else Path(home) / "stgcma" / "shards"
    return base / hashlib.sha256(f"{store.location} {fingerprint}".encode()).hexdigest()[:20]


def open_kept(store: ObjectStore, name: str, folder: Path) -> BinaryIO:
    """Opens the file `name` of `store` from `folder`, fetching it whole when it is not there yet.

    Several processes may do so at once. Raises as `Store.open`.
    """
    kept = folder / name
    if not kept.is_file():
        with named_errors(kept):
            kept.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=kept.parent, prefix=f".{kept.name}.")
        os.close(descriptor)
        try:
            store.fetch(name, Path(temporary))
            Path(temporary).replace(kept)
        finally:
            Path(temporary).unlink(missing_ok=True)
    return kept.open("rb")
