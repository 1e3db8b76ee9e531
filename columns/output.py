"""The folder of a column that is being added: one writer, its plan, and the shards finished so far.

Until `column.json` exists, `.progress/` holds `plan.json` and a file for each finished shard. After any
interruption the same command continues.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..bounded import parse_object
from ..console import message
from ..errors import InputError, OtherSettingsError
from ..preprocess.collections.specification import FBANK_ALIASES
from ..shards.additions import Sums
from ..shards.column_checks import column_shard_faults
from ..shards.columns import (
    COLUMN_FILE,
    COLUMN_TABLE,
    PLAN_FILE,
    PROGRESS_FOLDER,
    ColumnInfo,
    ColumnRecord,
    ColumnShard,
    ColumnVersionError,
    column_folder,
    column_shards,
    read_column,
    read_column_quarantine,
    read_column_records,
    read_index,
    update_index,
)
from ..shards.fbank_sums import add_sums, audio_statistics, total_sums
from ..shards.files import PARTIAL_SUFFIX
from ..shards.locking import Lock, exclusive
from ..shards.manifest import MOST_TABLE_BYTES, read_dataset, read_manifest, write_table
from ..shards.schema import (
    QUARANTINE_FILE,
    SPLITS,
    AudioStatistics,
    ClipRecord,
    QuarantineRecord,
    canonical_json,
)
from ..shards.storage import Location, ObjectStore, Store, open_store
from ..shards.writer import end_of_archive

_PLAN = f"{PROGRESS_FOLDER}/{PLAN_FILE}"


@dataclass(frozen=True)
class Added:
    """Result of adding a column.

    Attributes:
        info: the content of `column.json`.
        failures: number of clips that it lacks, by reason.
        was_complete: whether nothing was left to do.
    """

    info: ColumnInfo
    failures: dict[str, int]
    was_complete: bool

    @property
    def written(self) -> int:
        """Number of clips with the column."""
        return self.info.counts["written"]

    @property
    def quarantined(self) -> int:
        """Number of clips that it could not be made of."""
        return self.info.counts["quarantined"]


class ColumnOutput:
    """A column that is being added; `open_column` returns one.

    Attributes:
        store: of the column's folder.
        clips: the rows of the manifest by shard.
    """

    def __init__(self, location: Location, member: str, store: Store, lock: Lock) -> None:
        self.location, self.member, self.store = location, member, store
        self.clips: dict[str, list[ClipRecord]] = {}
        for record in read_manifest(location):
            self.clips.setdefault(record.shard, []).append(record)
        self._lock = lock
        self._plan: dict[str, Any] = {}

    def begin(
        self,
        settings: dict[str, Any],
        versions: dict[str, str],
        *,
        retry_quarantined: bool = False,
        repair: bool = False,
    ) -> list[ColumnShard]:
        """Start or continue adding the column; return the shards that are kept.

        Shards whose clips were made again since, or that are cut, are left out; with `retry_quarantined` also
        those that lack a clip, with `repair` those that fail a hash.

        Raises InputError for a column of another version of this package, OtherSettingsError for one of other
        settings or versions of the tools.
        """
        self._plan = {"settings": settings, "versions": versions}
        update_index(open_store(self.location), adding=self.member)
        flags = {"retry_quarantined": retry_quarantined, "repair": repair}
        info = self._complete()
        if info is not None:
            self._check_same({"settings": info.settings, "versions": info.versions})
            kept = self._kept(self._recorded(info), **flags)
            if len(kept) < len(self.clips):
                self._reopen(kept)
            return kept
        if self.store.exists(_PLAN):
            self._check_same(parse_object(self.store.read(_PLAN), where=self.store.where(_PLAN)))
            return self._kept(self._finished(), **flags)
        self._clear()
        self.store.publish(_PLAN, canonical_json(self._plan))
        return []

    def complete(
        self,
        kept: Sequence[ColumnShard],
        make: Callable[[dict[str, list[ClipRecord]]], Iterable[ColumnShard]],
    ) -> Added:
        """Finish the column from the shards that `begin` returned and those that `make` makes of the others.

        `make` gets the rows of the manifest by shard, and records each shard when it is finished.
        """
        there = {shard.shard for shard in kept}
        missing = {name: clips for name, clips in self.clips.items() if name not in there}
        info = None if missing else self._complete()
        shards = list(kept)
        was_complete = info is not None
        if info is None:
            shards += make(missing) if missing else ()
            info = self._finish(shards)
        else:
            self._end()  # what an interruption left
        failures = Counter(row.reason for shard in shards for row in shard.quarantined)
        return Added(info, dict(sorted(failures.items())), was_complete)

    def record(self, shard: ColumnShard) -> None:
        """Record that a shard is finished."""
        self._lock.check()
        if not shard.written:
            self.store.remove(shard.shard)  # from an earlier try
        content = {
            "shard": shard.shard,
            "written": [row._asdict() for row in shard.written],
            "quarantined": [row._asdict() for row in shard.quarantined],
        }
        self.store.publish(f"{PROGRESS_FOLDER}/{shard.shard}.json", canonical_json(content))

    def _finish(self, shards: Iterable[ColumnShard]) -> ColumnInfo:
        """Write the tables and `column.json`, and remove what else is in the folder."""
        order = {shard: place for place, shard in enumerate(self.clips)}
        shards = sorted(shards, key=lambda one: order[one.shard])
        written = [row for shard in shards for row in shard.written]
        quarantined = [row for shard in shards for row in shard.quarantined]
        files = {
            COLUMN_TABLE: write_table(self.store, COLUMN_TABLE, written, ColumnRecord),
            QUARANTINE_FILE: write_table(self.store, QUARANTINE_FILE, quarantined, QuarantineRecord),
        }
        info = ColumnInfo(
            member=self.member,
            settings=self._plan["settings"],
            versions=self._plan["versions"],
            counts={"written": len(written), "quarantined": len(quarantined)},
            audio=_audio_statistics(shards),
            files=files,
        )
        names = {COLUMN_FILE, *files, *(row.shard for row in written)}
        for name in self.store.names():
            if name not in names and not name.startswith(f"{PROGRESS_FOLDER}/") and not name.endswith("/"):
                self.store.remove(name)  # of shards that the directory no longer has
        self._lock.check()
        self.store.publish(COLUMN_FILE, info.to_bytes())
        self._end()
        return info

    def _end(self) -> None:
        """Remove the temporary files of adding it."""
        for name in self.store.names():
            if name.endswith(PARTIAL_SUFFIX):
                self.store.remove(name)
        self.store.remove_folder(PROGRESS_FOLDER)

    def _complete(self) -> ColumnInfo | None:
        try:
            return read_column(self.location, self.member)
        except ColumnVersionError:
            raise
        except InputError as error:
            message(f"{error}; its shards are made again")
            self.store.remove(COLUMN_FILE)
            return None

    def _recorded(self, info: ColumnInfo) -> list[ColumnShard]:
        """Return the shards of a complete column; none when a table is damaged."""
        try:
            for name, wanted in info.files.items():
                content = self.store.read(name, most_bytes=MOST_TABLE_BYTES)
                if hashlib.sha256(content).hexdigest() != wanted:
                    raise InputError(f"{self.store.where(name)} is damaged: {COLUMN_FILE} has another hash")
            rows = read_column_records(self.store), read_column_quarantine(self.store)
        except FileNotFoundError:
            message(f"{self.store} lacks a table; the shards of {self.member} are made again")
            return []
        except InputError as error:
            message(f"{error}; the shards of {self.member} are made again")
            return []
        every = (clip for clips in self.clips.values() for clip in clips)
        return list(column_shards(every, *rows).values())

    def _finished(self) -> list[ColumnShard]:
        """Return the shards of an unfinished column that are recorded."""
        found = []
        for name in self.store.names():
            if not name.startswith(f"{PROGRESS_FOLDER}/") or name == _PLAN or not name.endswith(".tar.json"):
                continue
            try:
                content = parse_object(self.store.read(name), where=name)
                written = tuple(ColumnRecord(**row) for row in content["written"])
                quarantined = tuple(QuarantineRecord(**row) for row in content["quarantined"])
                found.append(ColumnShard(content["shard"], written, quarantined))
            except (InputError, KeyError, TypeError, ValueError):
                message(f"{self.store.where(name)} is damaged; its shard is made again")
        return found

    def _kept(
        self, shards: Iterable[ColumnShard], *, retry_quarantined: bool, repair: bool
    ) -> list[ColumnShard]:
        sizes = self.store.sizes()
        kept = []
        for shard in shards:
            end = sum(row.bytes for row in shard.written)
            whole = sizes.get(shard.shard) == (end + len(end_of_archive(end)) if shard.written else None)
            fits = shard.shard in self.clips and shard.fits(self.clips[shard.shard])
            if not (whole and fits) or (retry_quarantined and shard.quarantined):
                continue
            if not (repair and shard.written and any(column_shard_faults(self.store, self.member, shard))):
                kept.append(shard)
        return kept

    def _reopen(self, kept: Sequence[ColumnShard]) -> None:
        """Turn a complete column into an unfinished one in which the shards in `kept` are finished."""
        self.store.remove_folder(PROGRESS_FOLDER)
        self.store.publish(_PLAN, canonical_json(self._plan))
        for shard in kept:
            self.record(shard)
        self.store.remove(COLUMN_FILE)

    def _check_same(self, before: dict[str, Any]) -> None:
        if before.get("settings") != self._plan["settings"]:
            raise OtherSettingsError(
                f"{self.store} holds {self.member} of other settings; drop it with "
                f"`stgcma shards drop-column {self.location} {self.member}` to add it anew"
            )
        there, here = before.get("versions") or {}, self._plan["versions"]
        if other := [name for name in sorted(there.keys() & here.keys()) if there[name] != here[name]]:
            name = other[0]
            raise OtherSettingsError(
                f"{self.store} was begun with {name} {there[name]}, here is {here[name]}: clips may differ; "
                f"use that version, or `stgcma shards drop-column {self.location} {self.member}`"
            )

    def _clear(self) -> None:
        for name in self.store.names():
            if not name.endswith("/"):
                self.store.remove(name)


@contextmanager
def open_column(location: Location, member: str) -> Iterator[ColumnOutput]:
    """Open a column of a finished directory for writing; one process at a time writes to a directory.

    Raises InputError when the directory is not finished, cannot be written safely, or another process is
    writing to it.
    """
    store = _writable(location)
    with exclusive(store) as lock:
        yield ColumnOutput(location, member, store.folder(column_folder(member)), lock)


def _writable(location: Location) -> Store:
    """Return the store of a finished directory that can be written."""
    read_dataset(location)
    store = open_store(location)
    if isinstance(store, ObjectStore):
        store.check_writable()
    return store


def drop_column(location: Location, member: str) -> None:
    """Remove a column, complete or not; `member` can be the alias of an fbank.

    Raises InputError when the directory has none of that name, or cannot be written.
    """
    store, member = _writable(location), FBANK_ALIASES.get(member, member)
    folder = column_folder(member)
    with exclusive(store):
        if store.folder(folder).names():
            store.remove(f"{folder}/{COLUMN_FILE}")  # first: without it the column is unfinished
            store.remove_folder(folder)
        elif member not in _indexed(store):
            raise InputError(f"{store} has no column {member}")
        update_index(store)


def _indexed(store: Store) -> list[str]:
    """Return the names in the index of columns; none where it is damaged, since it is written again."""
    try:
        return read_index(store)
    except InputError:
        return []


def _audio_statistics(shards: Sequence[ColumnShard]) -> AudioStatistics | None:
    """Return mean and standard deviation over the training clips; None without values."""
    parts = []
    for shard in shards:
        sums: dict[str, Sums] = {}
        for row in shard.written:
            if row.split == SPLITS[0]:
                add_sums(sums, {"values": (row.total, row.squares, row.values)})
        parts.append(sums)
    return audio_statistics(total_sums(parts)).get("values")
