"""Comparison of the sources of written clips with the raw folder, before further clips are added."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ...shards.schema import ClipRecord, SourceFile
from ...shards.source_checks import source_faults
from ...shards.storage import Location, open_store

_MOST_NAMED = 5

# Yields a line for the user for each source of the given clips that changed.
SourceNotes = Callable[[Iterable[ClipRecord]], Iterator[str]]


def source_notes(records: Iterable[ClipRecord], *, raw: Location, hashes: bool) -> Iterator[str]:
    """Yield a line for each source file that is missing or has changed, at most five, and their number.

    Args:
        records: the written clips; those whose sources are not recorded are left out.
        raw: the raw folder, or its URL.
        hashes: read the files and compare their hashes, not only their sizes.
    """
    files: dict[SourceFile, list[str]] = {}
    for record in records:
        for file in record.sources:
            files.setdefault(file, []).append(record.key)
    count = 0
    for name, what in source_faults(files, open_store(raw), lambda _: None, hashes=hashes):
        count += 1
        if count <= _MOST_NAMED:
            yield f"{name} {what}; they stay as they were written"
    if count > _MOST_NAMED:
        yield f"{count} source files of written clips are missing or have changed"
