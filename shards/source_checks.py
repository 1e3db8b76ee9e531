"""Comparison of the raw files with the sizes and hashes that the manifest recorded of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from ..errors import InputError
from .schema import ClipRecord, SourceFile
from .storage import LocalStore, Location, ObjectStore, Store, open_store

_CHUNK_BYTES = 1 << 20
_KEYS_SHOWN = 3


def recorded_sources(records: Iterable[ClipRecord], *, where: str) -> dict[SourceFile, list[str]]:
    """Return every file that the manifest records, with the keys of the clips that were made of it.

    Raises InputError naming `where` when the manifest records no files.
    """
    files: dict[SourceFile, list[str]] = {}
    for record in records:
        columns = (record.source_files, record.source_bytes, record.source_sha256)
        if len({len(column) for column in columns}) > 1:
            raise InputError(f"{where}: {record.key} has source columns of different lengths")
        for file in record.sources:
            files.setdefault(file, []).append(record.key)
    if not files:
        raise InputError(
            f"{where} records no hashes of source files: an earlier version of stgcma made it; "
            "make it again to compare sources"
        )
    return files


def open_sources(raw: Location) -> Store:
    """Return the store of the raw folder. Raises InputError when it is a path that is no folder."""
    store = open_store(raw)
    if isinstance(store, LocalStore) and not store.path.is_dir():
        raise InputError(f"sources {store} is not a folder; give the RAW that the shards were made of")
    return store


def source_faults(
    files: dict[SourceFile, list[str]], store: Store, on_bytes: Callable[[int], None], *, hashes: bool = True
) -> Iterator[tuple[str, str]]:
    """Yield (file, fault) for every recorded file that is missing or was replaced.

    Without `hashes` only sizes are compared, and no file is read. Objects are listed once.
    """
    listed = store.all_sizes() if isinstance(store, ObjectStore) and store.lists_names else None
    for file, keys in files.items():
        clips = _clips(keys)
        if not _is_inside(file.name):
            yield file.name, f"leads out of the raw folder; {clips}"
            continue
        size = store.size_bytes(file.name) if listed is None else listed.get(file.name)
        if size is None:
            yield file.name, f"is missing; {clips}"
        elif size != file.bytes:
            yield file.name, f"is {size} bytes long, {file.bytes} were read; {clips}"
        elif hashes and _sha256(store, file, on_bytes) != file.sha256:
            yield file.name, f"has changed, its hash is not the one that was read; {clips}"


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _sha256(store: Store, file: SourceFile, on_bytes: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    with store.open(file.name) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            on_bytes(len(chunk))
    return digest.hexdigest()


def _clips(keys: Sequence[str]) -> str:
    more = ", …" if len(keys) > _KEYS_SHOWN else ""
    return f"clips made of it: {', '.join(keys[:_KEYS_SHOWN])}{more}"
