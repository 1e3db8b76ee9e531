"""Checks of the files beside the shards, each alone and against each other."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..bounded import parse_object
from ..errors import InputError, one_line
from .manifest import MOST_TABLE_BYTES, is_as_written, read_manifest, read_planned, read_quarantine
from .schema import (
    CONTENT_HASH,
    DATASET_FILE,
    MANIFEST_FILE,
    PLANNED_FILE,
    QUARANTINE_FILE,
    SPLITS,
    ClipRecord,
    DatasetInfo,
    PlannedRecord,
    QuarantineRecord,
    is_valid_key,
)
from .storage import Location, Store

# The only reason for which a quarantined clip shares its key with a written one.
DUPLICATE_KEY = "duplicate-key"


@dataclass(frozen=True)
class Fault:
    """A deviation from what was written. `file` is relative to the directory."""

    file: str
    what: str

    def __str__(self) -> str:
        return one_line(f"{self.file}: {self.what}")


@dataclass(frozen=True)
class Tables:
    """Content of the files beside the shards; None for a file that is damaged, or that need not exist."""

    info: DatasetInfo | None
    manifest: list[ClipRecord] | None
    quarantine: list[QuarantineRecord] | None
    planned: list[PlannedRecord] | None = None


def check_tables(store: Store, sizes: dict[str, int], faults: list[Fault]) -> Tables:
    """Read the files beside the shards of a directory, and append their faults."""
    info = _check_dataset(store, sizes, faults)
    hashes = info.files if info is not None else {}
    blind = {MANIFEST_FILE: "; the shards cannot be judged without it"}

    def check(name: str, read: Callable[[Location], Any]) -> Any:
        if name not in sizes:
            faults.append(Fault(name, f"is missing{blind.get(name, '')}"))
            return None
        try:
            found = hashlib.sha256(store.read(name, most_bytes=MOST_TABLE_BYTES)).hexdigest()
        except InputError as error:
            faults.append(Fault(name, f"cannot be read: {error}"))
            return None
        if info is not None and found != hashes.get(name):
            what = f"is damaged, its hash is not the one in {DATASET_FILE}{blind.get(name, '')}"
            faults.append(Fault(name, what))
            return None
        try:
            return read(store.location)
        except InputError as error:
            faults.append(Fault(name, f"is damaged: {error}"))
            return None

    several = info is not None and info.additions
    return Tables(
        info,
        check(MANIFEST_FILE, read_manifest),
        check(QUARANTINE_FILE, read_quarantine),
        check(PLANNED_FILE, read_planned) if several else None,
    )


def _check_dataset(store: Store, sizes: dict[str, int], faults: list[Fault]) -> DatasetInfo | None:
    if DATASET_FILE not in sizes:
        faults.append(Fault(DATASET_FILE, "is missing: the directory is not finished"))
        return None
    try:
        content = store.read(DATASET_FILE)
        fields = parse_object(content, where=DATASET_FILE)
        info = DatasetInfo.from_json(fields, where=DATASET_FILE)
    except InputError as error:
        faults.append(Fault(DATASET_FILE, f"is damaged: {' '.join(str(error).split())}"))
        return None
    if not is_as_written(content, fields):
        faults.append(Fault(DATASET_FILE, f"is damaged, its content is not what {CONTENT_HASH} says"))
        return None
    if fields.get("fingerprint") != info.fingerprint:
        faults.append(Fault(DATASET_FILE, "its fingerprint is not that of its settings"))
    return info


def check_agreement(tables: Tables, faults: list[Fault]) -> None:
    """Compare the files beside the shards with each other, and append the faults."""
    info, manifest, quarantine = tables.info, tables.manifest, tables.quarantine
    if info is not None and tables.planned is not None:
        faults += _planned_faults(info, tables.planned, manifest or [])
    if manifest is not None:
        faults += _manifest_faults(manifest)
    if manifest is not None and info is not None:
        written = Counter(record.split for record in manifest)
        for split in sorted(info.counts.keys() | written.keys()):
            said = info.counts.get(split, {}).get("written", 0)
            if said != written[split]:
                what = f"says {said} clips of {split} are written, {MANIFEST_FILE} has {written[split]}"
                faults.append(Fault(DATASET_FILE, what))
    if quarantine is not None and info is not None:
        said = sum(count.get("quarantined", 0) for count in info.counts.values())
        if said != len(quarantine):
            what = f"says {said} clips are quarantined, {QUARANTINE_FILE} has {len(quarantine)}"
            faults.append(Fault(DATASET_FILE, what))
    if manifest is not None and quarantine is not None:
        keys = {record.key for record in manifest}
        for record in quarantine:
            if record.key in keys and record.reason != DUPLICATE_KEY:
                faults.append(Fault(QUARANTINE_FILE, f"{record.key} is in {MANIFEST_FILE} too"))


def _planned_faults(
    info: DatasetInfo, planned: list[PlannedRecord], manifest: list[ClipRecord]
) -> Iterator[Fault]:
    found = Counter((record.addition, record.split) for record in planned)
    for number, addition in enumerate(info.additions):
        for split in SPLITS:
            said, there = addition.planned(split), found.pop((number, split), 0)
            if said != there:
                what = f"says addition {number + 1} has {said} clips of {split}, {PLANNED_FILE} has {there}"
                yield Fault(DATASET_FILE, what)
    for number, split in found:
        yield Fault(PLANNED_FILE, f"has clips of {split!r} in addition {number + 1}, which does not exist")
    keys = {record.key for record in planned}
    for record in manifest:
        if record.key not in keys:
            yield Fault(PLANNED_FILE, f"lacks {record.key}, which {MANIFEST_FILE} has")


def _manifest_faults(manifest: list[ClipRecord]) -> Iterator[Fault]:
    seen: set[str] = set()
    for record in manifest:
        if not is_valid_key(record.key):
            yield Fault(MANIFEST_FILE, f"{record.key!r} is not a key")
        if record.key in seen:
            yield Fault(MANIFEST_FILE, f"{record.key} is in it twice")
        seen.add(record.key)
        if record.split not in SPLITS or not record.shard.startswith(f"{record.split}-"):
            yield Fault(MANIFEST_FILE, f"{record.key} of split {record.split!r} is in {record.shard}")
    shards = [shard for shard, _ in itertools.groupby(manifest, key=lambda record: record.shard)]
    order = {split: rank for rank, split in enumerate(SPLITS)}
    if shards != sorted(set(shards), key=lambda shard: (order.get(shard.split("-")[0], len(order)), shard)):
        yield Fault(MANIFEST_FILE, "its rows are not in the order of the shards")
