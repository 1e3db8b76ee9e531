"""Content of a finished directory that is added to, or some of whose shards are made again.

While that goes on, `OUT/.progress/` holds the former description and tables, `planned.parquet` with the
planned clips of all additions, and `former.json` with what is done to the former shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ...bounded import parse_object
from ...errors import InputError
from ...shards.additions import Addition, Sums
from ...shards.manifest import (
    MOST_TABLE_BYTES,
    read_dataset,
    read_manifest,
    read_planned,
    read_quarantine,
    write_planned,
)
from ...shards.schema import (
    DATASET_FILE,
    MANIFEST_FILE,
    PLANNED_FILE,
    QUARANTINE_FILE,
    ClipRecord,
    DatasetInfo,
    PlannedRecord,
    QuarantineRecord,
    canonical_json,
)
from ...shards.storage import Store
from .finished import damaged_tables

PROGRESS_FOLDER = ".progress"
PLAN_FILE = f"{PROGRESS_FOLDER}/plan.json"
SET_ASIDE_FILE = f"{PROGRESS_FOLDER}/{DATASET_FILE}"
FORMER_FILE = f"{PROGRESS_FOLDER}/former.json"
TABLES = (MANIFEST_FILE, QUARANTINE_FILE, PLANNED_FILE)


@dataclass(frozen=True)
class FormerShards:
    """Content of `former.json`.

    Attributes:
        again: names of the former shards that are made again.
        sums: name of a former training shard to the sums of its fbanks, for those that were read.
        failed: name of a former shard to the number of its rows in the former quarantine, where it has any.
        renamed: key of a clip in the former quarantine to its new source, where a retry takes one.
    """

    again: frozenset[str] = frozenset()
    sums: dict[str, dict[str, Sums]] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        renamed = {"renamed": self.renamed} if self.renamed else {}
        return {"again": sorted(self.again), "sums": self.sums, "failed": self.failed, **renamed}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> FormerShards:
        """Read the output of `to_json`."""
        sums = {
            name: {fbank: (each[0], each[1], each[2]) for fbank, each in shard.items()}
            for name, shard in content["sums"].items()
        }
        return cls(frozenset(content["again"]), sums, content["failed"], content.get("renamed", {}))


class Former:
    """Finished content of the directory `store`.

    Attributes:
        store: the directory.
        begun: whether work on it has begun: its description and tables are then in `.progress/`.
        info: its description.
        damaged: names of its files that are missing or damaged.
    """

    def __init__(self, store: Store, *, begun: bool) -> None:
        self.store = store
        self.begun = begun
        self._location = store.folder(PROGRESS_FOLDER).location if begun else store.location
        self.info: DatasetInfo = read_dataset(self._location)

    @cached_property
    def damaged(self) -> tuple[str, ...]:
        """Names of the files beside the shards that are missing or damaged."""
        if not self.begun:
            begins = not self.store.exists(DATASET_FILE)
            return damaged_tables(self.store, SET_ASIDE_FILE if begins else DATASET_FILE)
        # The hash of `planned.parquet` is of the former additions alone.
        failed = {*damaged_tables(self.store.folder(PROGRESS_FOLDER))} - {DATASET_FILE, PLANNED_FILE}
        lost = (name for name in TABLES if not self.store.exists(f"{PROGRESS_FOLDER}/{name}"))
        return tuple(sorted(failed.union(lost), key=TABLES.index))

    @cached_property
    def manifest(self) -> list[ClipRecord]:
        """Rows of the manifest."""
        return read_manifest(self._location)

    @cached_property
    def quarantine(self) -> list[QuarantineRecord]:
        """Rows of the quarantine."""
        return read_quarantine(self._location)

    @property
    def trusted_manifest(self) -> list[ClipRecord]:
        """Rows of the manifest; none when it is missing or damaged."""
        return [] if MANIFEST_FILE in self.damaged else self.manifest

    def planned(self) -> list[PlannedRecord] | None:
        """Return the planned clips of all additions, those that are being made included; None if unknown."""
        if self.begun or (self.info.additions and PLANNED_FILE not in self.damaged):
            return read_planned(self._location)
        return None

    def additions(self) -> tuple[Addition, ...]:
        """Return all additions, also the one that is being made."""
        former = self.info.all_additions
        if not self.begun:
            return former
        plan = parse_object(self.store.read(PLAN_FILE), where=self.store.where(PLAN_FILE))
        planned = plan.get("additions") or [{"plan_sha256": plan["clips"]}]
        empty: dict[str, Any] = {"counts": {}, "sums": {}}
        # The hashes of the former ones change where a retry takes files of other names.
        hashes = [each["plan_sha256"] for each in planned]
        return (
            *(replace(old, plan_sha256=new) for old, new in zip(former, hashes, strict=False)),
            *(Addition.from_json(empty | each) for each in planned[len(former) :]),
        )

    def check_whole(self, *, repair: bool) -> None:
        """Raise InputError when a file beside the shards is damaged, unless `repair`."""
        if self.damaged and not (repair or self.begun):
            where = self.store.where(self.damaged[0])
            raise InputError(f"{where} is missing or damaged; repeat with the option repair")

    def decoders(self) -> set[str]:
        """Return the `decoder` of the written clips."""
        return {record.decoder for record in self.trusted_manifest}

    def shards(self) -> FormerShards:
        """Return what is done to the former shards, once work has begun."""
        where = self.store.where(FORMER_FILE)
        return FormerShards.from_json(parse_object(self.store.read(FORMER_FILE), where=where))

    def set_aside(self, plan: dict[str, Any], shards: FormerShards, planned: Sequence[PlannedRecord]) -> None:
        """Begin the work of `plan`: the directory is unfinished from now on."""
        progress = self.store.folder(PROGRESS_FOLDER)
        self.store.remove_folder(PROGRESS_FOLDER)
        for name in (MANIFEST_FILE, QUARANTINE_FILE):
            if name not in self.damaged:
                progress.publish(name, self.store.read(name, most_bytes=MOST_TABLE_BYTES))
        write_planned(progress.location, planned)
        self.store.publish(FORMER_FILE, canonical_json(shards.to_json()))
        self.store.publish(PLAN_FILE, canonical_json(plan))
        self.store.move(DATASET_FILE, SET_ASIDE_FILE)

    def update(self, shards: FormerShards) -> None:
        """Change what is done to the former shards."""
        self.store.publish(FORMER_FILE, canonical_json(shards.to_json()))
