"""Verification of the columns of a directory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import InputError, StgcmaError
from .columns import (
    COLUMN_FILE,
    COLUMN_FOLDER,
    COLUMN_TABLE,
    INDEX_FILE,
    ColumnInfo,
    ColumnRecord,
    ColumnShard,
    column_shards,
    is_column_file,
    is_member,
    read_column,
    read_column_quarantine,
    read_column_records,
    read_index,
)
from .manifest import MOST_TABLE_BYTES
from .members import all_finite, read_array
from .schema import QUARANTINE_FILE, ClipRecord, is_shard_name
from .storage import Store
from .table_checks import Fault
from .tar_members import TarMemberError, extent_members
from .writer import end_of_archive

_UNFINISHED = "is left by an add-column that has not ended; give its command again"
_REPAIR = "give its command again with --repair"


def column_faults(
    store: Store,
    sizes: Mapping[str, int],
    manifest: Sequence[ClipRecord],
    on_bytes: Callable[[int], None],
) -> Iterator[Fault]:
    """Yield the faults of all columns: what their hashes, their tables and the manifest contradict.

    Args:
        store: of the directory.
        sizes: of all its files.
        manifest: its rows.
        on_bytes: called with the number of bytes of each part that was read.
    """
    below = [name.split("/", 2)[1:] for name in sizes if name.startswith(f"{COLUMN_FOLDER}/")]
    if [INDEX_FILE] in below:
        below.remove([INDEX_FILE])
        yield from _index_faults(store, {parts[0] for parts in below if parts[1:] == [COLUMN_FILE]})
    members = sorted({parts[0] for parts in below})
    for member in members:
        files = {parts[1] for parts in below if len(parts) == 2 and parts[0] == member}
        folder = f"{COLUMN_FOLDER}/{member}"
        if not files:
            yield Fault(folder, _UNFINISHED if is_column_file(folder) else "is extra")
            continue
        if not is_member(member) or not any(is_column_file(f"{folder}/{name}") for name in files):
            yield Fault(folder, "is extra")
            continue
        if COLUMN_FILE not in files:
            yield Fault(folder, _UNFINISHED)
            continue
        for what in _column(store, member, files, manifest, on_bytes):
            yield Fault(f"{folder}/{what.file}", what.what)


def _index_faults(store: Store, complete: set[str]) -> Iterator[Fault]:
    try:
        lacking = sorted(complete - set(read_index(store)))
    except InputError as error:
        yield Fault(f"{COLUMN_FOLDER}/{INDEX_FILE}", f"is damaged: {error}")
        return
    if lacking:
        what = f"lacks {lacking[0]}; give the command that added it again"
        yield Fault(f"{COLUMN_FOLDER}/{INDEX_FILE}", what)


def _column(
    directory: Store,
    member: str,
    files: set[str],
    manifest: Sequence[ClipRecord],
    on_bytes: Callable[[int], None],
) -> Iterator[Fault]:
    """Yield the faults of one column, with files relative to its folder."""
    store = directory.folder(f"{COLUMN_FOLDER}/{member}")
    try:
        info = read_column(directory.location, member)
    except InputError as error:
        yield Fault(COLUMN_FILE, f"is damaged: {error}")
        return
    if info is None:
        return
    faults: list[Fault] = []
    written, quarantined = (
        _table(store, name, info, read, faults)
        for name, read in (
            (COLUMN_TABLE, read_column_records),
            (QUARANTINE_FILE, read_column_quarantine),
        )
    )
    yield from faults
    if written is None or quarantined is None:
        return
    if info.counts != {"written": len(written), "quarantined": len(quarantined)}:
        yield Fault(COLUMN_FILE, f"says {info.counts}, the tables have {len(written)} and {len(quarantined)}")
    shards = column_shards(manifest, written, quarantined)
    clips: dict[str, list[ClipRecord]] = {}
    for clip in manifest:
        clips.setdefault(clip.shard, []).append(clip)
    for shard, rows in clips.items():
        if shard not in shards or not shards[shard].fits(rows):
            yield Fault(shard, f"does not hold the clips of shards/{shard}; complete it with add-column")
    made = {row.shard for row in written}
    for name in sorted(files - made - {COLUMN_FILE, COLUMN_TABLE, QUARANTINE_FILE}):
        if is_shard_name(name):
            yield Fault(name, f"is extra, {COLUMN_TABLE} does not name it")
        else:
            ours = is_column_file(f"{COLUMN_FOLDER}/{member}/{name}")
            yield Fault(name, _UNFINISHED if ours else "is extra")
    for name in sorted(made):
        if name not in files:
            yield Fault(name, f"is missing, {COLUMN_TABLE} names it; {_REPAIR}")
        elif name in shards:
            for fault in column_shard_faults(store, member, shards[name], on_bytes):
                yield Fault(fault.file, f"{fault.what}; {_REPAIR}")


def _table(
    store: Store, name: str, info: ColumnInfo, read: Callable[[Store], Any], faults: list[Fault]
) -> Any:
    """Return the rows of a table; None, after appending the fault, when it is damaged."""
    try:
        found = hashlib.sha256(store.read(name, most_bytes=MOST_TABLE_BYTES)).hexdigest()
        if found == info.files.get(name):
            return read(store)
        faults.append(Fault(name, f"is damaged, its hash is not the one in {COLUMN_FILE}; {_REPAIR}"))
    except FileNotFoundError:
        faults.append(Fault(name, f"is missing; {_REPAIR}"))
    except InputError as error:
        faults.append(Fault(name, f"is damaged: {error}"))
    return None


def column_shard_faults(
    store: Store, member: str, shard: ColumnShard, on_bytes: Callable[[int], None] = lambda _: None
) -> Iterator[Fault]:
    """Yield the faults of an existing shard of a column, which is in the folder `store`."""
    name, rows = shard.shard, shard.written
    closing = end_of_archive(sum(row.bytes for row in rows))
    with store.open(name) as stream:
        for row in rows:
            extent = stream.read(row.bytes)
            on_bytes(len(extent))
            if hashlib.sha256(extent).hexdigest() != row.sha256:
                yield Fault(name, f"{row.key} is damaged, its hash is not the one in {COLUMN_TABLE}")
                continue
            for what in _clip_faults(extent, member, row):
                yield Fault(name, f"{row.key} {what}")
        rest = stream.read(len(closing) + 1)
        on_bytes(len(rest))
    if rest != closing:
        yield Fault(name, "its end is damaged: zeros up to a whole record are expected after the last clip")


def _clip_faults(extent: bytes, member: str, row: ColumnRecord) -> Iterator[str]:
    import numpy as np

    try:
        for name, content in extent_members(extent):
            key, _, suffix = name.partition(".")
            if key != row.key or not (suffix == f"{member}.npy" or suffix.startswith(f"{member}_")):
                yield f"has the member {name}, which is not of the column"
                continue
            array = read_array(content, suffix)
            if array.dtype != np.float16 or not all_finite(array):
                yield f"has {suffix} that is not finite float16"
    except (TarMemberError, StgcmaError) as error:
        yield f"is not readable: {error}"
