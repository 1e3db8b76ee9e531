"""Verification of a shard directory, down to the last bit (`stgcma shards verify`).

`dataset.json` holds hashes of its content and of the tables, the manifest a hash of every clip's bytes, and
all other bytes of a shard are zeros. A file that fails its hash is not used to check others, so that
damage is reported once, and where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError, one_line
from .clip_checks import expected_shapes
from .column_checks import column_faults
from .columns import COLUMN_FOLDER
from .files import PARTIAL_SUFFIX
from .schema import (
    DATASET_FILE,
    MANIFEST_FILE,
    PLANNED_FILE,
    QUARANTINE_FILE,
    REPOSITORY_FILES,
    SHARD_FOLDER,
    ClipRecord,
    SourceFile,
)
from .shard_checks import ShardChecks, ShardTask
from .source_checks import open_sources, recorded_sources, source_faults
from .storage import Location, Store, open_store
from .table_checks import Fault, Tables, check_agreement, check_tables

OnBytes = Callable[[int], None]


@dataclass(frozen=True)
class Verification:
    """Result of a verification.

    Attributes:
        shards, clips, bytes: numbers of what was read.
        faults: all deviations.
        sources: number of source files compared; None when that was not requested.
    """

    shards: int
    clips: int
    bytes: int
    faults: tuple[Fault, ...]
    sources: int | None = None

    def to_json(self, location: Location) -> dict[str, Any]:
        """Return the result as JSON values."""
        faults = [{"file": one_line(fault.file), "what": one_line(fault.what)} for fault in self.faults]
        size = {"shards": self.shards, "clips": self.clips, "bytes": self.bytes}
        sources = {} if self.sources is None else {"sources": self.sources}
        return {"out": str(location), **size, **sources, "faults": faults}


def verify(
    location: Location,
    *,
    on_total: OnBytes = lambda _: None,
    on_bytes: OnBytes = lambda _: None,
    sources: Location | None = None,
    workers: int = 1,
) -> Verification:
    """Compare every byte of a shard directory with its hashes.

    Args:
        location: the directory, a path or a URL.
        on_total: called with the number of bytes to read.
        on_bytes: called with the number of bytes of each part that was read.
        sources: the raw folder; the files that the clips were made of are then compared, too.
        workers: the most processes that check shards. The result is the same for any number. With more than
            one, a script that calls this needs `if __name__ == "__main__":`.

    Raises:
        StgcmaError: when one of the processes dies.
        InputError: when `location` holds no part of a shard directory, `sources` is no folder, or the
            manifest records no source files.
    """
    raw = None if sources is None else open_sources(sources)
    store = open_store(location)
    sizes = {name: store.size_bytes(name) or 0 for name in store.names() if not name.endswith("/")}
    folders = [name for name in store.names() if name.endswith("/")]
    if not any(name.split("/")[0] in _CONTRACT for name in (*sizes, *folders)):
        raise InputError(f"{store} is not a shard directory; make one with `stgcma preprocess`")
    faults: list[Fault] = []
    tables = check_tables(store, sizes, faults)
    recorded: dict[SourceFile, list[str]] = {}
    if raw is not None and tables.manifest is not None:
        recorded = recorded_sources(tables.manifest, where=store.where(MANIFEST_FILE))
    on_total(sum(sizes.values()) + sum(file.bytes for file in recorded))
    for name in _FILES:
        on_bytes(sizes.get(name, 0))
    faults += _stray_files([*sizes, *folders], several=tables.info is None or bool(tables.info.additions))
    check_agreement(tables, faults)
    clips = 0
    if tables.manifest is not None:
        clips = len(tables.manifest)
        faults += _check_shards(store, tables, sizes, on_bytes, workers)
        faults += column_faults(store, sizes, tables.manifest, on_bytes)
    if raw is not None:
        faults += [Fault(raw.where(name), what) for name, what in source_faults(recorded, raw, on_bytes)]
    shards = sum(name.startswith(f"{SHARD_FOLDER}/") for name in sizes)
    return Verification(
        shards, clips, sum(sizes.values()), tuple(faults), None if raw is None else len(recorded)
    )


_FILES = (DATASET_FILE, MANIFEST_FILE, QUARANTINE_FILE, PLANNED_FILE)
_CONTRACT = (*_FILES, SHARD_FOLDER)


def _stray_files(names: Sequence[str], *, several: bool) -> Iterator[Fault]:
    """Yield files outside of the contract. Those among the shards are compared with the manifest instead.

    `several`: the directory may have several additions.
    """
    for name in names:
        top, _, below = name.partition("/")
        if name in REPOSITORY_FILES:
            continue
        if top in (SHARD_FOLDER, COLUMN_FOLDER) and not below.endswith("/"):
            continue
        if top not in _CONTRACT or below or (top == PLANNED_FILE and not several):
            yield Fault(name, _LEFT if _is_left(name) else "is extra")


_LEFT = "is left by a run that has not ended; give its command again"


def _is_left(name: str) -> bool:
    return name.startswith(".") or name.endswith(PARTIAL_SUFFIX)


def _check_shards(
    store: Store, tables: Tables, sizes: dict[str, int], on_bytes: OnBytes, workers: int
) -> Iterator[Fault]:
    by_shard: dict[str, list[ClipRecord]] = {}
    for record in tables.manifest or ():
        by_shard.setdefault(record.shard, []).append(record)
    owners = {record.key: record.shard for record in tables.manifest or ()}
    shapes = expected_shapes(tables.info) if tables.info is not None else None
    present = {name.removeprefix(f"{SHARD_FOLDER}/") for name in sizes if name.startswith(f"{SHARD_FOLDER}/")}
    tasks = (
        ShardTask(f"{SHARD_FOLDER}/{shard}", by_shard[shard], sizes[f"{SHARD_FOLDER}/{shard}"])
        for shard in sorted(present & by_shard.keys())
    )
    # A key in two shards is rare, and then the order of the rows decides.
    unique = len(owners) == len(tables.manifest or ())
    check = ShardChecks(store, shapes, owners)
    with check.results(tasks, workers if unique else 1, on_bytes) as results:
        for shard in sorted(present | by_shard.keys()):
            name = f"{SHARD_FOLDER}/{shard}"
            if shard not in present:
                yield Fault(name, f"is missing, {MANIFEST_FILE} names it")
            elif shard not in by_shard:
                yield Fault(name, _LEFT if _is_left(name) else f"is extra, {MANIFEST_FILE} does not name it")
                on_bytes(sizes[name])
            else:
                yield from next(results)
