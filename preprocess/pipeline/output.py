"""The output folder while it is being made: one writer, a plan it must agree with, shards finished so far.

Until `dataset.json` is there, `OUT/.progress/` holds `plan.json` and a file per finished shard. A run that is
stopped, however, is continued by the same command: finished shards are kept, the others made again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...bounded import parse_object
from ...console import message
from ...errors import InputError, OtherSettingsError, StgcmaError
from ...shards.files import PARTIAL_SUFFIX, UnwritableError, named_errors
from ...shards.manifest import dataset_bytes, read_dataset, read_manifest
from ...shards.schema import (
    CONTENT_HASH,
    DATASET_FILE,
    MANIFEST_FILE,
    QUARANTINE_FILE,
    SHARD_FOLDER,
    SPLITS,
    ClipRecord,
    DatasetInfo,
    QuarantineRecord,
    canonical_json,
    content_sha256,
    shard_name,
)
from ...shards.storage import LocalStore, Location, ObjectStore, Store, open_store
from ...shards.writer import end_of_archive
from .locking import LOCK_FILE, Lock, exclusive
from .plan import (
    FORMAT,
    differences,
    has_other_fallbacks,
    make_plan,
    without_idle_decoders,
    without_own_version,
)

PROGRESS_FOLDER = ".progress"
_PLAN_FILE = f"{PROGRESS_FOLDER}/plan.json"
# A finished directory's description while shards of it are made again.
_SET_ASIDE = f"{PROGRESS_FOLDER}/{DATASET_FILE}"
_TABLES = (MANIFEST_FILE, QUARANTINE_FILE)
_SHARD = re.compile(rf"(?:{'|'.join(SPLITS)})-\d{{6}}\.tar")
_RECORD = re.compile(rf"{_SHARD.pattern}\.json")
_CLEARING = {"clearing": True}  # stands for the plan while an --overwrite removes what was there


@dataclass(frozen=True)
class ShardResult:
    """What became of the clips of one shard.

    `sums` maps an fbank's name to (sum, sum of squares, count) over the written clips.
    """

    split: str
    index: int
    written: tuple[ClipRecord, ...]
    quarantined: tuple[QuarantineRecord, ...]
    sums: dict[str, tuple[float, float, int]]

    @property
    def name(self) -> str:
        """The shard's file name."""
        return shard_name(self.split, self.index)

    @property
    def bytes(self) -> int | None:
        """The size of the shard's file; None when all its clips failed and there is none."""
        size = sum(record.bytes for record in self.written)
        return size + len(end_of_archive(size)) if self.written else None

    def to_json(self) -> dict[str, Any]:
        """The content of the shard's progress file."""
        records = {
            "written": [record._asdict() for record in self.written],
            "quarantined": [record._asdict() for record in self.quarantined],
        }
        return vars(self) | records

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ShardResult:
        """Reads what `to_json` wrote."""
        return cls(
            split=content["split"],
            index=content["index"],
            written=tuple(map(_clip_record, content["written"])),
            quarantined=tuple(QuarantineRecord(**row) for row in content["quarantined"]),
            sums={name: (sums[0], sums[1], sums[2]) for name, sums in content["sums"].items()},
        )


def _clip_record(row: dict[str, Any]) -> ClipRecord:
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in row.items()
    }
    return ClipRecord(**fields)


class OutputFolder:
    """A shard directory in the making; use `open_output` to get one."""

    def __init__(self, store: Store, lock: Lock) -> None:
        self.location = store.location
        self.shards = store.folder(SHARD_FOLDER).location
        self._store = store
        self._lock = lock

    def is_complete(self) -> bool:
        """Whether the directory is finished."""
        return self._store.exists(DATASET_FILE)

    def begin(self, plan: dict[str, Any], *, overwrite: bool, repair: bool = False) -> None:
        """Starts or continues the run that `plan` describes.

        A finished directory whose description holds no plan any more is begun anew with `repair`.

        Raises InputError naming what differs when the folder holds the result of another plan, when it holds
        shards that nothing says are of this program's making, and for such damage without `repair`.
        """
        if self.is_complete() and not overwrite and (fault := self._lost_plan()):
            if not repair:
                raise InputError(f"{fault}; give the same command with --repair")
            message(f"{fault}; nothing says how the shards were made: all are made again")
            overwrite = True
        existing = None if overwrite or self.is_complete() else self._plan()
        if overwrite or existing == _CLEARING:
            self._clear()
        elif self.is_complete():
            # What a newer stgcma wrote or would write is told apart by the format's version.
            self._check_finished(_plan_of(read_dataset(self.location)), without_own_version(plan))
        elif existing is not None:
            self._check_same(existing, plan, self._decoders_of_records)
        else:
            self._check_no_shards()
            self._store.remove_folder(PROGRESS_FOLDER)  # of a plan that nobody knows
        if not self.is_complete():
            self._store.publish(_PLAN_FILE, canonical_json(plan))

    def reopen(self, plan: dict[str, Any], kept: Iterable[ShardResult]) -> None:
        """Makes a finished directory an unfinished one, of whose shards those in `kept` are finished.

        Raises OtherSettingsError for a directory of another format version: its clips would be of two kinds.
        """
        self._check_same(
            _plan_of(read_dataset(self.location)), without_own_version(plan), self._decoders_of_manifest
        )
        self._store.remove_folder(PROGRESS_FOLDER)
        self._store.publish(_PLAN_FILE, canonical_json(plan))
        for result in kept:
            self.record(result)
        self._store.move(DATASET_FILE, _SET_ASIDE)

    def restore(self, info: DatasetInfo) -> bool:
        """Puts the description that `reopen` set aside back, if it is that of `info`; else False.

        What a repair did not change keeps its file.
        """
        content = dataset_bytes(info.to_json())
        if not self._store.exists(_SET_ASIDE) or self._store.read(_SET_ASIDE) != content:
            return False
        self._store.move(_SET_ASIDE, DATASET_FILE)
        return True

    def finished(self) -> dict[tuple[str, int], ShardResult]:
        """Return the results of the shards that were finished before and are still there, by split and index.

        A shard whose record is empty, cut or another's is named on stderr, and left out.
        """
        results = {}
        for name in self._store.names():
            if not name.startswith(f"{PROGRESS_FOLDER}/") or not _SHARD.match(Path(name).name):
                continue
            result = self._read_record(name)
            if result is None:
                message(f"{self._store.where(name)} is damaged; its shard is made again")
            elif self._is_in_place(result):
                results[result.split, result.index] = result
        return results

    def _read_record(self, name: str) -> ShardResult | None:
        try:
            result = ShardResult.from_json(parse_object(self._store.read(name), where=name))
            return result if f"{result.name}.json" == Path(name).name else None
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            return None

    def record(self, result: ShardResult) -> None:
        """Notes that a shard is finished. Raises StgcmaError when its tar is not in place."""
        self._lock.check()
        if result.bytes is None:
            self._store.remove(f"{SHARD_FOLDER}/{result.name}")  # of an earlier try
        elif not self._is_in_place(result):
            raise StgcmaError(
                f"{self._store.where(f'{SHARD_FOLDER}/{result.name}')} was written, but is not there: "
                "is OUT a folder that all machines share, or a URL?"
            )
        name = f"{PROGRESS_FOLDER}/{result.name}.json"
        self._store.publish(name, canonical_json(result.to_json()))

    def end(self) -> None:
        """Removes the traces of the making. Does nothing where there are none."""
        for name in self._store.names():
            if name.endswith(PARTIAL_SUFFIX) and _is_ours(name):
                self._store.remove(name)
        self._store.remove_folder(PROGRESS_FOLDER)

    def _is_in_place(self, result: ShardResult) -> bool:
        return self._store.size_bytes(f"{SHARD_FOLDER}/{result.name}") == result.bytes

    def _check_finished(self, existing: dict[str, Any], plan: dict[str, Any]) -> None:
        """Accepts a directory of an earlier format when only the format and the tools' versions differ."""
        version = existing[FORMAT]
        if version < plan[FORMAT]:
            # Nothing is added to it. Settings that it does not know were introduced after it.
            features = {name: plan["features"].get(name) for name in existing["features"]}
            same = {name: plan[name] for name in (FORMAT, "versions")}
            self._check_same(existing | same, plan | {"features": features}, self._decoders_of_manifest)
            message(
                f"{self.location} is complete in format version {version}, which can be used as it is; "
                f"to make it in version {plan[FORMAT]}, choose another OUT, or --overwrite"
            )
            return
        self._check_same(existing, plan, self._decoders_of_manifest)

    def _lost_plan(self) -> str | None:
        """The damage of a finished directory's description that leaves no plan to compare; else None."""
        where = self._store.where(DATASET_FILE)
        try:
            fields = parse_object(self._store.read(DATASET_FILE), where=where)
        except InputError as error:
            return str(error)
        if fields.get(CONTENT_HASH) in (None, content_sha256(fields)):
            return None
        try:
            DatasetInfo.from_json(fields, where=where)
        except InputError as error:
            return str(error)
        return None

    def _decoders_of_manifest(self) -> set[str]:
        return {record.decoder for record in read_manifest(self.location)}

    def _decoders_of_records(self) -> set[str]:
        return {record.decoder for result in self.finished().values() for record in result.written}

    def _check_same(
        self, existing: dict[str, Any], plan: dict[str, Any], decoders: Callable[[], set[str]]
    ) -> None:
        version, wanted = existing.get(FORMAT, 1), plan[FORMAT]
        if version != wanted:
            raise OtherSettingsError(
                f"{self.location} holds shards of format version {version}, this stgcma makes version "
                f"{wanted}, whose fbanks have other bytes; choose another OUT, or --overwrite to start anew"
            )
        used = decoders() if has_other_fallbacks(existing, plan) else set()
        existing, plan = (without_idle_decoders(each, used) for each in (existing, plan))
        if changed := list(differences(existing, plan)):
            raise OtherSettingsError(
                f"{self.location} holds shards of another kind: {'; '.join(changed)}; "
                "choose another OUT, or --overwrite to start anew"
            )

    def _plan(self) -> dict[str, Any] | None:
        if not self._store.exists(_PLAN_FILE):
            return None
        try:
            return parse_object(self._store.read(_PLAN_FILE), where=_PLAN_FILE)
        except InputError:
            raise InputError(
                f"{self._store.where(_PLAN_FILE)} is not the plan of a run; --overwrite to start anew"
            ) from None

    def _check_no_shards(self) -> None:
        for name in self._store.names():
            if name in _TABLES or (name.startswith(f"{SHARD_FOLDER}/") and not name.endswith("/")):
                raise InputError(
                    f"OUT {self.location} holds {name}, but neither {DATASET_FILE} nor the plan of a run "
                    "that has not ended: it may be another's; take another OUT, or --overwrite to discard it"
                )

    def _clear(self) -> None:
        # First, so that what is left when this is cut short is known to be on its way out.
        self._store.publish(_PLAN_FILE, canonical_json(_CLEARING))
        self._store.remove(DATASET_FILE)  # next: without it the rest is no finished directory
        for name in self._store.names():
            if _is_ours(name) and name not in (_PLAN_FILE, LOCK_FILE) and not name.endswith("/"):
                self._store.remove(name)


@contextmanager
def open_output(location: Location) -> Iterator[OutputFolder]:
    """Opens `location` for writing shards, made when missing; at most one process at a time has it open.

    Raises InputError when it is not a folder, holds foreign files, or another process works on it. A lock
    whose process is gone does not count. A finished directory that cannot be written is opened all the same:
    there may be nothing left to do.
    """
    store = open_store(location)
    if isinstance(store, ObjectStore):
        store.check_writable()
    if isinstance(store, LocalStore) and store.path.exists() and not store.path.is_dir():
        raise InputError(f"OUT {store} is a file, a folder is needed")
    foreign = [name for name in store.names() if not _is_ours(name)]
    if foreign and not _is_dataset(store):
        raise InputError(f"OUT {store} holds other files ({foreign[0]}, …); choose an empty or new folder")
    if isinstance(store, LocalStore):
        with named_errors(store.path):
            store.path.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            lock = held.enter_context(exclusive(store))
        except UnwritableError:
            if not store.exists(DATASET_FILE):
                raise
            lock = Lock()
        yield OutputFolder(store, lock)


def _is_ours(name: str) -> bool:
    """Whether a file below OUT is of this program's making, finished or not."""
    top, _, below = name.partition("/")
    whole = re.fullmatch(rf"\.(.+){re.escape(PARTIAL_SUFFIX)}", below or top)
    file = whole[1] if whole else below or top
    if top == PROGRESS_FOLDER and "/" in name:
        return not below or f"{top}/{file}" in (_PLAN_FILE, _SET_ASIDE) or _RECORD.fullmatch(file) is not None
    if top == SHARD_FOLDER and "/" in name:
        return not below or _SHARD.fullmatch(file) is not None
    return "/" not in name and file in (DATASET_FILE, *_TABLES, LOCK_FILE)


def _is_dataset(store: Store) -> bool:
    try:
        read_dataset(store.location)
    except InputError:
        return False
    return True


def _plan_of(info: DatasetInfo) -> dict[str, Any]:
    return without_own_version(make_plan(info))
