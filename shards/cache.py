"""Local cache of shards behind a URL."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..console import message
from .files import UnwritableError, named_errors
from .storage import Location, ObjectStore, open_store


def cache_folder(location: Location, fingerprint: str, *, root: str | None = None) -> Path | None:
    """Return the cache folder of the shards at `location`; None for a local directory, which needs none.

    Other content behind the same URL has another `fingerprint`, and so another folder. `root` is the user's
    cache folder when not given. Nothing is ever removed from it.
    """
    store = open_store(location)
    if not isinstance(store, ObjectStore):
        return None
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    base = Path(root) if root is not None else Path(home) / "stgcma" / "shards"
    return base / hashlib.sha256(f"{store.location} {fingerprint}".encode()).hexdigest()[:20]


def open_kept(store: ObjectStore, name: str, folder: Path, *, anew: bool = False) -> BinaryIO:
    """Open the file `name` of `store` from `folder`, after fetching it if it is not there yet.

    With `anew`, a damaged copy is named on stderr and replaced. Several processes may do so at once. Raises
    as `Store.open`, and UnwritableError naming the cache when it cannot be written.
    """
    kept = folder / name
    if anew:
        message(f"the shard cache holds a damaged copy, {kept}; it is fetched again")
    if anew or not kept.is_file():
        _fetch(store, name, kept)
    return kept.open("rb")


def _fetch(store: ObjectStore, name: str, kept: Path) -> None:
    with _named_cache():
        with named_errors(kept):
            kept.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=kept.parent, prefix=f".{kept.name}.")
            os.close(descriptor)
        try:
            store.fetch(name, Path(temporary))
            with named_errors(kept):
                Path(temporary).replace(kept)
        finally:
            Path(temporary).unlink(missing_ok=True)


@contextlib.contextmanager
def _named_cache() -> Iterator[None]:
    try:
        yield
    except UnwritableError as error:
        raise UnwritableError(
            f"the shard cache takes no files: {error}; data.cache sets its folder"
        ) from error
