"""Selection of the intact shards of a directory, which are not made again."""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...bounded import parse_object
from ...console import message
from ...errors import InputError, StgcmaError
from ...shards.additions import Sums
from ...shards.fbank_sums import add_sums, sums_of_members
from ...shards.manifest import (
    MOST_TABLE_BYTES,
    is_as_written,
    read_columns,
    read_manifest,
    read_quarantine,
)
from ...shards.reader import ClipReader, clip_places
from ...shards.schema import (
    DATASET_FILE,
    MANIFEST_FILE,
    PLANNED_FILE,
    QUARANTINE_FILE,
    SHARD_FOLDER,
    ClipRecord,
    DatasetInfo,
    QuarantineRecord,
    shard_name,
)
from ...shards.shard_checks import shard_faults
from ...shards.storage import Location, Store, open_store
from ...shards.table_checks import DUPLICATE_KEY
from ...shards.writer import end_of_archive
from .shard_plan import ShardTask
from .shard_result import ShardResult

_Quarantined = dict[str, tuple[QuarantineRecord, ...]]


@dataclass(frozen=True)
class Tables:
    """The damaged files beside the shards, and the readable rows of the two tables."""

    damaged: tuple[str, ...]
    manifest: list[ClipRecord] | None
    quarantine: list[QuarantineRecord] | None


def kept_shards(
    location: Location, tasks: Sequence[ShardTask], *, retry_quarantined: bool, repair: bool
) -> list[ShardResult] | None:
    """Return the results of the shards that need not be made again; None when nothing has to be made.

    A shard that is missing or of another size than the manifest says is always made again; with `repair` also
    one that fails a hash; with `retry_quarantined` also one that lacks a clip. Each is named on stderr,
    except the last kind. The training shards among the others are read, for the sums of the audio statistics.

    Raises InputError when a table is missing or damaged, unless `repair`: then it is made again; without the
    manifest all shards are, too, because it alone holds the hashes of their bytes.
    """
    store = open_store(location)
    damaged = damaged_tables(store)
    if damaged and not repair:
        raise InputError(f"{store.where(damaged[0])} is missing or damaged; repeat with the option repair")
    cut = {}
    if MANIFEST_FILE not in damaged:
        cut = wrong_sizes(store, zip(*read_columns(location, ("shard", "bytes")), strict=True))
    if not (damaged or cut or repair or retry_quarantined):
        return None
    tables = _read_tables(location, damaged)
    for name in damaged:
        message(f"{store.where(name)} is missing or damaged; it is made again")
    if tables.manifest is None:
        message(f"without {MANIFEST_FILE} nothing says what the shards' bytes must be; all are made again")
        return []
    again, kept = sorted_out(store, tasks, tables, cut, retry_quarantined=retry_quarantined, repair=repair)
    if not (damaged or again):
        return None
    return [result for result in map(_Summed(location), kept) if result is not None]


def damaged_tables(store: Store, description: str = DATASET_FILE) -> tuple[str, ...]:
    """Return the files beside the shards that are missing or fail their hash.

    `description` is the file with the content of `dataset.json`, which may be set aside.
    """
    content = store.read(description)
    fields = parse_object(content, where=store.where(description))
    info = DatasetInfo.from_json(fields, where=store.where(description))
    hashes, damaged = info.files, []
    if is_as_written(content, fields) is False:
        # Its hashes of the tables are not used either; the tables have checksums of their own.
        hashes = {}
        damaged.append(DATASET_FILE)
    planned = (PLANNED_FILE,) if info.additions else ()
    for name in (MANIFEST_FILE, QUARANTINE_FILE, *planned):
        table = store.read(name, most_bytes=MOST_TABLE_BYTES) if store.exists(name) else None
        if table is None or hashes.get(name) not in (None, hashlib.sha256(table).hexdigest()):
            damaged.append(name)
    return tuple(damaged)


def _read_tables(location: Location, damaged: tuple[str, ...]) -> Tables:
    manifest = None if MANIFEST_FILE in damaged else read_manifest(location)
    quarantine = None if QUARANTINE_FILE in damaged else read_quarantine(location)
    return Tables(damaged, manifest, quarantine)


def wrong_sizes(store: Store, clips: Iterable[tuple[str, int]]) -> dict[str, str]:
    """Return the shards that are missing or of another size, with the fault.

    `clips` holds the shard and the size in bytes of every written clip.
    """
    ends: dict[str, int] = defaultdict(int)
    for shard, size in clips:
        ends[shard] += size
    found = store.folder(SHARD_FOLDER).sizes()
    wrong = {}
    for shard, end in ends.items():
        size = end + len(end_of_archive(end))
        if shard not in found:
            wrong[shard] = "is missing"
        elif found[shard] != size:
            wrong[shard] = f"is {found[shard]} bytes long, {size} were written"
    return wrong


def sorted_out(
    store: Store,
    tasks: Sequence[ShardTask],
    tables: Tables,
    cut: dict[str, str],
    *,
    retry_quarantined: bool,
    repair: bool,
) -> tuple[int, list[ShardResult]]:
    """Return the number of shards to be made again, and the results of the others, without sums."""
    written: dict[str, list[ClipRecord]] = defaultdict(list)
    for record in tables.manifest or ():
        written[record.shard].append(record)
    failed = failed_clips(tasks, written, tables.quarantine)
    again, kept = 0, []
    for task in tasks:
        name = shard_name(task.split, task.index)
        where = f"{SHARD_FOLDER}/{name}"
        wrong = cut.get(name)
        if wrong is None and name not in failed:
            wrong = "lacks clips, and no table says why"
        if wrong is None and repair and written[name]:
            wrong = next((fault.what for fault in shard_faults(store, where, written[name])), None)
        if wrong is not None:
            message(f"{store.where(where)} {wrong}; it is made again")
        if wrong is not None or (retry_quarantined and failed[name]):
            again += 1
        else:
            kept.append(ShardResult(task.split, task.index, tuple(written[name]), failed[name], {}))
    return again, kept


def failed_clips(
    tasks: Sequence[ShardTask],
    written: dict[str, list[ClipRecord]],
    quarantine: list[QuarantineRecord] | None,
) -> _Quarantined:
    """Return the quarantine's rows by shard, for every shard whose clips are all in one of the tables."""
    rows: dict[tuple[str, str, bool], deque[QuarantineRecord]] = defaultdict(deque)
    for row in quarantine or ():
        rows[row.key, row.source, row.reason == DUPLICATE_KEY].append(row)
    found = {}
    for task in tasks:
        name = shard_name(task.split, task.index)
        keys = {record.key for record in written[name]}
        failed = []
        for clip in task.clips:
            duplicate = clip.problem is not None and clip.problem[0] == DUPLICATE_KEY
            if duplicate or clip.key not in keys:
                failed.append(rows[clip.key, clip.source, duplicate])
        if all(failed):
            found[name] = tuple(each.popleft() for each in failed)
    return found


class _Summed:
    """Adds the sums of fbanks to the result of a training shard; returns None for a damaged shard."""

    def __init__(self, location: Location) -> None:
        self._location = location

    def __call__(self, result: ShardResult) -> ShardResult | None:
        if result.split != "train":
            return result
        try:
            sums = fbank_sums_of(self._location, result.written)
        except StgcmaError as error:
            message(f"{error}; it is made again")
            return None
        return ShardResult(result.split, result.index, result.written, result.quarantined, sums)


def fbank_sums_of(location: Location, records: Sequence[ClipRecord]) -> dict[str, Sums]:
    """Return the sums, added in the order in which the shard was made."""
    sums: dict[str, Sums] = {}
    reader = ClipReader(location)
    try:
        for place in clip_places(records):
            add_sums(sums, sums_of_members(reader.read(place, check=True).items()))
    finally:
        reader.close()
    return sums


def whole_results(store: Store, results: Sequence[ShardResult]) -> Iterator[ShardResult]:
    """Yield the shards of an unfinished run that pass their hashes; the others are named on stderr."""
    for result in results:
        name = f"{SHARD_FOLDER}/{result.name}"
        faults = shard_faults(store, name, result.written) if result.written else iter(())
        if (fault := next(faults, None)) is None:
            yield result
        else:
            message(f"{store.where(name)} {fault.what}; it is made again")
