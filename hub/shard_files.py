"""The files of a shard directory as they are pushed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError
from ..shards.columns import (
    COLUMN_FILE,
    COLUMN_FOLDER,
    COLUMN_TABLE,
    INDEX_FILE,
    column_folder,
    column_names,
)
from ..shards.manifest import read_columns, read_dataset
from ..shards.schema import (
    DATASET_FILE,
    MANIFEST_FILE,
    PLANNED_FILE,
    QUARANTINE_FILE,
    SHARD_FOLDER,
    canonical_json,
    is_shard_name,
)
from ..shards.storage import LocalStore, Location, open_store
from .pushed_file import PushedFile


def shard_files(location: Location) -> list[PushedFile]:
    """Return the files of a finished shard directory on this machine: tables, shards and complete columns.

    Raises InputError when `location` is not one, or lacks a shard.
    """
    store = open_store(location)
    if not isinstance(store, LocalStore):
        raise InputError(f"OUT {location} is a URL; push a folder of this machine")
    read_dataset(location)
    files = []
    for name in _names(store):
        path = Path(store.location) / name
        if not path.is_file():
            raise InputError(f"{path} is missing; `stgcma shards verify {location}` names all faults")
        files.append(PushedFile(name, path))
    if columns := column_names(location):  # for readers over HTTP, which cannot list folders
        files.append(PushedFile(f"{COLUMN_FOLDER}/{INDEX_FILE}", canonical_json({"columns": columns})))
    return files


def _names(store: LocalStore) -> Iterator[str]:
    yield from (DATASET_FILE, MANIFEST_FILE, QUARANTINE_FILE)
    if store.exists(PLANNED_FILE):
        yield PLANNED_FILE
    (shards,) = read_columns(store.location, ("shard",))
    yield from (f"{SHARD_FOLDER}/{shard}" for shard in dict.fromkeys(shards))
    for member in column_names(store.location):
        folder = column_folder(member)
        for name in sorted(store.folder(folder).sizes()):
            if name in (COLUMN_FILE, COLUMN_TABLE, QUARANTINE_FILE) or is_shard_name(name):
                yield f"{folder}/{name}"
