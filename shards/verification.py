"""`stgcma shards verify`: is a shard directory, to the last bit, what was written?

`dataset.json` holds a hash of its own content and of both tables, the manifest holds a hash of every clip's
bytes, and all other bytes of a shard are zeros. A file that fails its hash is not used to check others, so
that the damage is named once and where it is.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..bounded import parse_object
from ..errors import InputError, one_line
from .clip_checks import Shapes, clip_faults, expected_shapes, first_key
from .files import PARTIAL_SUFFIX
from .manifest import MOST_TABLE_BYTES, is_as_written, read_manifest, read_quarantine
from .schema import (
    CONTENT_HASH,
    DATASET_FILE,
    MANIFEST_FILE,
    QUARANTINE_FILE,
    SHARD_FOLDER,
    SPLITS,
    ClipRecord,
    DatasetInfo,
    QuarantineRecord,
    SourceFile,
    is_valid_key,
)
from .source_checks import open_sources, recorded_sources, source_faults
from .storage import Location, Store, open_store
from .writer import end_of_archive

OnBytes = Callable[[int], None]

# The one reason for which a quarantined clip shares its key with a written one.
DUPLICATE_KEY = "duplicate-key"


@dataclass(frozen=True)
class Fault:
    """Something that is not as it was written. `file` is relative to the directory."""

    file: str
    what: str

    def __str__(self) -> str:
        return one_line(f"{self.file}: {self.what}")


@dataclass(frozen=True)
class Verification:
    """What a check came to: how much was looked at, and every fault.

    `sources` is the number of source files that were compared, None when that was not asked for.
    """

    shards: int
    clips: int
    bytes: int
    faults: tuple[Fault, ...]
    sources: int | None = None

    def to_json(self, location: Location) -> dict[str, Any]:
        """For machines."""
        faults = [{"file": one_line(fault.file), "what": one_line(fault.what)} for fault in self.faults]
        size = {"shards": self.shards, "clips": self.clips, "bytes": self.bytes}
        sources = {} if self.sources is None else {"sources": self.sources}
        return {"out": str(location), **size, **sources, "faults": faults}


@dataclass(frozen=True)
class _Tables:
    """What could be read of the three files beside the shards; None where it is not to be trusted."""

    info: DatasetInfo | None
    manifest: list[ClipRecord] | None
    quarantine: list[QuarantineRecord] | None


def verify(
    location: Location, *, on_total: OnBytes, on_bytes: OnBytes, sources: Location | None = None
) -> Verification:
    """Look at every byte of the directory. `on_total` is given their number, `on_bytes` that of each part.

    With `sources`, the raw folder, the files that the clips were made of are compared as well.
    Raises InputError when there is nothing of a shard directory at `location`, no folder at `sources`, or
    nothing recorded to compare its files with.
    """
    raw = None if sources is None else open_sources(sources)
    store = open_store(location)
    sizes = {name: store.size_bytes(name) or 0 for name in store.names() if not name.endswith("/")}
    folders = [name for name in store.names() if name.endswith("/")]
    if not any(name.split("/")[0] in _CONTRACT for name in (*sizes, *folders)):
        raise InputError(f"{store} is not a shard directory; make one with `stgcma preprocess`")
    faults: list[Fault] = []
    tables = _check_tables(store, sizes, faults)
    recorded: dict[SourceFile, list[str]] = {}
    if raw is not None and tables.manifest is not None:
        recorded = recorded_sources(tables.manifest, where=store.where(MANIFEST_FILE))
    on_total(sum(sizes.values()) + sum(file.bytes for file in recorded))
    for name in (DATASET_FILE, MANIFEST_FILE, QUARANTINE_FILE):
        on_bytes(sizes.get(name, 0))
    faults += _stray_files([*sizes, *folders])
    _check_agreement(tables, faults)
    clips = 0
    if tables.manifest is not None:
        clips = len(tables.manifest)
        faults += _check_shards(store, tables, sizes, on_bytes)
    if raw is not None:
        faults += [Fault(raw.where(name), what) for name, what in source_faults(recorded, raw, on_bytes)]
    shards = sum(name.startswith(f"{SHARD_FOLDER}/") for name in sizes)
    return Verification(
        shards, clips, sum(sizes.values()), tuple(faults), None if raw is None else len(recorded)
    )


_CONTRACT = (DATASET_FILE, MANIFEST_FILE, QUARANTINE_FILE, SHARD_FOLDER)


def _check_tables(store: Store, sizes: dict[str, int], faults: list[Fault]) -> _Tables:
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

    return _Tables(info, check(MANIFEST_FILE, read_manifest), check(QUARANTINE_FILE, read_quarantine))


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


def _stray_files(names: Sequence[str]) -> Iterator[Fault]:
    """What is beside the files of the contract. Files among the shards are compared with the manifest."""
    for name in names:
        top, _, below = name.partition("/")
        if top == SHARD_FOLDER and not below.endswith("/"):
            continue
        if top not in _CONTRACT or below:
            yield Fault(name, _LEFT if _is_left(name) else "is extra")


_LEFT = "is left by a run that has not ended; give its command again"


def _is_left(name: str) -> bool:
    return name.startswith(".") or name.endswith(PARTIAL_SUFFIX)


def _check_agreement(tables: _Tables, faults: list[Fault]) -> None:
    """The three files against each other."""
    info, manifest, quarantine = tables.info, tables.manifest, tables.quarantine
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


def _check_shards(store: Store, tables: _Tables, sizes: dict[str, int], on_bytes: OnBytes) -> Iterator[Fault]:
    by_shard: dict[str, list[ClipRecord]] = {}
    for record in tables.manifest or ():
        by_shard.setdefault(record.shard, []).append(record)
    owners = {record.key: record.shard for record in tables.manifest or ()}
    shapes = expected_shapes(tables.info) if tables.info is not None else None
    present = {name.removeprefix(f"{SHARD_FOLDER}/") for name in sizes if name.startswith(f"{SHARD_FOLDER}/")}
    for shard in sorted(present | by_shard.keys()):
        name = f"{SHARD_FOLDER}/{shard}"
        if shard not in present:
            yield Fault(name, f"is missing, {MANIFEST_FILE} names it")
        elif shard not in by_shard:
            yield Fault(name, _LEFT if _is_left(name) else f"is extra, {MANIFEST_FILE} does not name it")
            on_bytes(sizes[name])
        else:
            yield from _check_shard(store, name, by_shard[shard], sizes[name], owners, shapes, on_bytes)


def shard_faults(store: Store, name: str, records: Sequence[ClipRecord]) -> Iterator[Fault]:
    """Yield the faults of the shard `name`, of which `records` are the manifest's rows."""
    size = store.size_bytes(name)
    if size is None:
        yield Fault(name, f"is missing, {MANIFEST_FILE} names it")
    else:
        yield from _check_shard(store, name, records, size, {}, None, lambda _: None)


def _check_shard(
    store: Store,
    name: str,
    records: Sequence[ClipRecord],
    size: int,
    owners: dict[str, str],
    shapes: Shapes | None,
    on_bytes: OnBytes,
) -> Iterator[Fault]:
    end = sum(record.bytes for record in records)
    closing = end_of_archive(end)
    if size != end + len(closing):
        yield Fault(name, f"is {size} bytes long, {end + len(closing)} were written")
    try:
        opened = store.open(name)
    except InputError as error:
        yield Fault(name, f"cannot be read: {error}")
        return
    with opened as stream:
        for record in records:
            extent = stream.read(record.bytes)
            on_bytes(len(extent))
            if len(extent) < record.bytes:
                yield Fault(name, f"is cut: it ends within {record.key}")
                return
            if hashlib.sha256(extent).hexdigest() != record.sha256:
                key = first_key(extent)
                if f"{SHARD_FOLDER}/{owners.get(key, record.shard)}" != name:
                    yield Fault(name, f"holds {key}, which belongs in {owners[key]}")
                    return
                yield Fault(name, f"{record.key} is damaged, its hash is not the one in {MANIFEST_FILE}")
                continue
            for what in clip_faults(extent, record, shapes):
                yield Fault(name, f"{record.key} {what}")
        rest = stream.read(len(closing) + 1)  # no more, however much follows
        on_bytes(max(size - end, 0))
    if rest != closing:
        yield Fault(name, "its end is damaged: zeros up to a whole record are expected after the last clip")
