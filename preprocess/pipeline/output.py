"""The output folder of an unfinished run: one writer, its plan, and the shards finished so far.

Until `dataset.json` exists, `OUT/.progress/` holds `plan.json` and a file for each finished shard. After any
interruption the same command continues: finished shards are kept, the others made again.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ...bounded import parse_object
from ...console import message
from ...errors import InputError, StgcmaError
from ...shards.columns import COLUMN_FOLDER, is_column_file
from ...shards.files import PARTIAL_SUFFIX, UnwritableError, named_errors
from ...shards.locking import KernelLock, Lock, exclusive, is_lock
from ...shards.manifest import dataset_bytes, matches_own_hash, read_dataset, read_manifest
from ...shards.schema import (
    DATASET_FILE,
    MANIFEST_FILE,
    PLANNED_FILE,
    SHARD_FOLDER,
    SPLITS,
    ClipRecord,
    DatasetInfo,
    canonical_json,
)
from ...shards.storage import LocalStore, Location, ObjectStore, Store, open_store
from .description import DESCRIPTION_FILE, Description
from .finished import damaged_tables
from .former import FORMER_FILE, PLAN_FILE, PROGRESS_FOLDER, SET_ASIDE_FILE, TABLES, Former
from .parts import OURS, PARTS_FOLDER, Part, beginning, check_no_parts, locked_part
from .plan import (
    FORMAT,
    check_same,
    make_plan,
    without_own_version,
)
from .shard_chunks import CHUNKS_FOLDER
from .shard_result import ShardResult
from .stored_plan import STORED_PLAN_FILE

_SHARD = re.compile(rf"(?:{'|'.join(SPLITS)})-\d{{6}}\.tar")
_PROGRESS_RECORD = re.compile(rf"{re.escape(PROGRESS_FOLDER)}/{_SHARD.pattern}\.json")
_CHUNK = re.compile(rf"chunks/(?:{_SHARD.pattern}/(?:\d{{6}}|\.\d{{6}}{re.escape(PARTIAL_SUFFIX)})?)?")
_RECORD = re.compile(rf"{_SHARD.pattern}\.json")
_PROGRESS_FILES = (
    PLAN_FILE,
    SET_ASIDE_FILE,
    FORMER_FILE,
    DESCRIPTION_FILE,
    STORED_PLAN_FILE,
    *(f"{PROGRESS_FOLDER}/{name}" for name in TABLES),
)
_CLEARING = {"clearing": True}  # in place of the plan while the former content is removed


class OutputFolder:
    """A shard directory that is being made; `open_output` returns one."""

    def __init__(self, store: Store, lock: Lock, part: Part | None = None) -> None:
        self.part = part
        self.location = store.location
        self._store = store
        self._lock = lock

    def is_complete(self) -> bool:
        """Tell whether the directory is finished."""
        return self._store.exists(DATASET_FILE)

    @contextmanager
    def beginning(self) -> Iterator[None]:
        """Wait until no other part begins its work; a run of the whole directory has no part beside it.

        Raises InputError when a run of the whole directory is at work.
        """
        with ExitStack() as held:
            if self.part is not None:
                held.enter_context(beginning(self._store, self.part))
            yield

    def state(self) -> tuple[bool, bool]:
        """Return whether the directory is finished, and whether work on its finished content has begun."""
        return self.is_complete(), self._store.exists(FORMER_FILE)

    def describe(self, description: Description) -> None:
        """Record what `finish` needs to know of an unfinished run of parts."""
        content = canonical_json(description.to_json())
        if not self._store.exists(DESCRIPTION_FILE) or self._store.read(DESCRIPTION_FILE) != content:
            self._store.publish(DESCRIPTION_FILE, content)

    def description(self) -> Description | None:
        """Return what was recorded of an unfinished run of parts; None when there is none."""
        if not self._store.exists(DESCRIPTION_FILE):
            return None
        where = self._store.where(DESCRIPTION_FILE)
        return Description.from_json(
            parse_object(self._store.read(DESCRIPTION_FILE), where=where), where=where
        )

    def former(self) -> Former | None:
        """Return the finished content, also while it is added to; None without any that can be read."""
        if self.is_complete():
            return None if self._lost_plan() else Former(self._store, begun=False)
        # Without that file it is a retry or a repair of a directory that was made at once.
        if not self._store.exists(FORMER_FILE) or self._plan() in (None, _CLEARING):
            return None
        return Former(self._store, begun=True)

    def recorded_clips_per_shard(self, former: Former | None) -> int | None:
        """Return the number of clips in each shard of the content that is there; None without any."""
        if former is not None:
            return former.info.all_additions[0].clips_per_shard
        plan = None if self.is_complete() else self._plan()
        features = (plan or {}).get("features")
        recorded = features.get("clips_per_shard") if isinstance(features, dict) else None
        return recorded if isinstance(recorded, int) and recorded > 0 else None

    def former_rows(self, former: Former | None) -> list[ClipRecord]:
        """Return the manifest's rows of the shards that are there; none of a manifest that fails its hash.

        former: the content that is added to, if any.
        """
        if former is None and not self._store.exists(SET_ASIDE_FILE):
            return []
        try:
            if former is not None:
                return former.trusted_manifest
            damaged = damaged_tables(self._store, SET_ASIDE_FILE)
            return [] if MANIFEST_FILE in damaged else read_manifest(self.location)
        except InputError:
            return []

    def check_plan(self, plan: dict[str, Any]) -> None:
        """Raise InputError unless the unfinished run is of `plan`."""
        check_same(self._plan() or {}, plan, self._decoders_of_records, where=self.location)

    def begin(self, plan: dict[str, Any], *, overwrite: bool, repair: bool = False) -> None:
        """Start or continue the run of `plan`.

        A finished directory whose description is too damaged to hold a plan is started anew with `repair`.

        Raises:
            InputError: when the folder holds the result of another plan (naming the differences), shards that
                may belong to another program, or such damage without `repair`.
        """
        if self.is_complete() and not overwrite and (fault := self._lost_plan()):
            if not repair:
                raise InputError(f"{fault}; repeat with the option repair")
            if self._store.exists(PLANNED_FILE):
                raise InputError(
                    f"{fault}; nothing says how the shards of its additions were made: restore "
                    f"{DATASET_FILE} from a copy, or use the option overwrite to start anew"
                )
            message(f"{fault}; nothing says how the shards were made: all are made again")
            overwrite = True
        existing = None if overwrite or self.is_complete() else self._plan()
        if overwrite or existing == _CLEARING:
            self._clear()
        else:
            self.check_fits(plan)
            if existing is None and not self.is_complete():
                self._store.remove_folder(PROGRESS_FOLDER)  # of an unknown plan
        if not self.is_complete():
            self._store.publish(PLAN_FILE, canonical_json(plan))

    def check_fits(self, plan: dict[str, Any]) -> None:
        """Raise InputError, naming the differences, unless what the folder holds is of `plan`."""
        if self.is_complete():
            # Results of other versions of stgcma differ in the format's version.
            self._check_finished(_plan_of(read_dataset(self.location)), without_own_version(plan))
        elif (existing := self._plan()) is None:
            self._check_no_shards()
        elif existing != _CLEARING:
            check_same(existing, plan, self._decoders_of_records, where=self.location)

    def reopen(self, plan: dict[str, Any], kept: Iterable[ShardResult]) -> None:
        """Turn a finished directory into an unfinished one in which the shards in `kept` are finished.

        Raises OtherSettingsError for a directory of another format version, whose clips would differ.
        """
        finished = _plan_of(read_dataset(self.location))
        check_same(finished, without_own_version(plan), self._decoders_of_manifest, where=self.location)
        self._store.remove_folder(PROGRESS_FOLDER)
        self._store.publish(PLAN_FILE, canonical_json(plan))
        for result in kept:
            self.record(result)
        self._store.move(DATASET_FILE, SET_ASIDE_FILE)

    def restore(self, info: DatasetInfo) -> bool:
        """Restore the description that `reopen` set aside if it equals that of `info`; else return False.

        A repair that changes nothing thus leaves the file as it was.
        """
        content = dataset_bytes(info.to_json())
        if not self._store.exists(SET_ASIDE_FILE) or self._store.read(SET_ASIDE_FILE) != content:
            return False
        self._store.move(SET_ASIDE_FILE, DATASET_FILE)
        return True

    def finished(
        self, wanted: Container[str] | None = None, *, replaced: bool = False
    ) -> dict[tuple[str, int], ShardResult]:
        """Return the results of finished shards whose files exist, by split and index.

        `wanted` holds the names of the shards; None for all. With `replaced`, also shards whose file has
        another size than recorded. A shard whose record is empty, cut or that of another shard is named on
        stderr and left out.
        """
        results = {}
        for name in self._store.names():
            if not _PROGRESS_RECORD.fullmatch(name):
                continue
            if wanted is not None and Path(name).stem not in wanted:
                continue
            result = self._read_record(name)
            if result is None:
                message(f"{self._store.where(name)} is damaged; its shard is made again")
            elif replaced or self._is_in_place(result):
                results[result.split, result.index] = result.packed()
        return results

    def _read_record(self, name: str) -> ShardResult | None:
        try:
            result = ShardResult.from_json(parse_object(self._store.read(name), where=name))
            return result if f"{result.name}.json" == Path(name).name else None
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            return None

    def record(self, result: ShardResult) -> None:
        """Record that a shard is finished. Raises StgcmaError when its tar is not in place."""
        self.check_lock()
        if result.bytes is None:
            self._store.remove(f"{SHARD_FOLDER}/{result.name}")  # from an earlier try
        elif not self._is_in_place(result):
            raise StgcmaError(
                f"{self._store.where(f'{SHARD_FOLDER}/{result.name}')} was written, but is not there: "
                "is OUT a folder that all machines share, or a URL?"
            )
        name = f"{PROGRESS_FOLDER}/{result.name}.json"
        self._store.publish(name, canonical_json(result.to_json()))

    def remove_chunks(self, shard: str) -> None:
        """Remove the chunks of a shard, which are needed until it is recorded."""
        self._store.remove_folder(f"{CHUNKS_FOLDER}/{shard}")

    def check_lock(self) -> None:
        """Raise StgcmaError when another process took the lock over."""
        self._lock.check()

    def end(self) -> None:
        """Remove the temporary files of the run, if there are any."""
        names = self._store.names()
        for name in names:
            if name.endswith(PARTIAL_SUFFIX) and _is_ours(name):
                self._store.remove(name)
        self._store.remove_folder(PROGRESS_FOLDER)
        if any(name.startswith(f"{PARTS_FOLDER}/") for name in names):
            self._store.remove_folder(PARTS_FOLDER)

    def _is_in_place(self, result: ShardResult) -> bool:
        return self._store.size_bytes(f"{SHARD_FOLDER}/{result.name}") == result.bytes

    def _check_finished(self, existing: dict[str, Any], plan: dict[str, Any]) -> None:
        """Accept a directory of an earlier format when only the format and the tools' versions differ."""
        version, wanted = existing[FORMAT], plan[FORMAT]
        if version < wanted:
            # Nothing is added to it. Settings that it lacks were introduced later.
            features = {name: plan["features"].get(name) for name in existing["features"]}
            same = {name: plan[name] for name in (FORMAT, "versions")}
            existing, plan = existing | same, plan | {"features": features}
        check_same(existing, plan, self._decoders_of_manifest, where=self.location)
        if version < wanted:
            message(
                f"{self.location} is complete in format version {version}, which can be used as it is; "
                f"to make it in version {wanted}, choose another OUT, or the option overwrite"
            )

    def _lost_plan(self) -> str | None:
        """Return the damage of `dataset.json` that leaves no plan to compare; None for no such damage."""
        where = self._store.where(DATASET_FILE)
        try:
            fields = parse_object(self._store.read(DATASET_FILE), where=where)
        except InputError as error:
            return str(error)
        if matches_own_hash(fields) is not False:
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

    def _plan(self) -> dict[str, Any] | None:
        if not self._store.exists(PLAN_FILE):
            return None
        try:
            return parse_object(self._store.read(PLAN_FILE), where=PLAN_FILE)
        except InputError:
            raise InputError(
                f"{self._store.where(PLAN_FILE)} is not the plan of a run; "
                "use the option overwrite to start anew"
            ) from None

    def _check_no_shards(self) -> None:
        for name in self._store.names():
            if name in TABLES or (name.startswith(f"{SHARD_FOLDER}/") and not name.endswith("/")):
                raise InputError(
                    f"OUT {self.location} holds {name}, but neither {DATASET_FILE} nor the plan of an "
                    "unfinished run: it may belong to another program; choose another OUT, or the option "
                    "overwrite to discard it"
                )

    def _clear(self) -> None:
        # First, so that an interrupted removal is recognised and continued.
        self._store.publish(PLAN_FILE, canonical_json(_CLEARING))
        self._store.remove(DATASET_FILE)  # next: without it the directory is unfinished
        for name in self._store.names():
            if _is_ours(name) and name != PLAN_FILE and not is_lock(name) and not name.endswith("/"):
                self._store.remove(name)


def checked_store(location: Location) -> Store:
    """Return the store of an output folder.

    Raises InputError when it is not a folder, cannot be written safely, or holds other files.
    """
    store = open_store(location)
    if isinstance(store, ObjectStore):
        store.check_writable()
    if isinstance(store, LocalStore) and store.path.exists() and not store.path.is_dir():
        raise InputError(f"OUT {store} is a file, a folder is needed")
    foreign = [name for name in store.names() if not _is_ours(name)]
    if foreign and not _is_dataset(store):
        raise InputError(f"OUT {store} holds other files ({foreign[0]}, …); choose an empty or new folder")
    return store


@contextmanager
def open_output(location: Location, part: Part | None = None) -> Iterator[OutputFolder]:
    """Open `location` for writing shards, and create it if necessary; one process at a time can have it open.

    With `part`, processes of other parts can have it open, too. A lock of a process that ended does not
    count. A finished directory that cannot be written is opened, too, because nothing may be left to do.

    Raises:
        InputError: when it is not a folder, holds other files, or is open in another process.
    """
    store = checked_store(location)
    if isinstance(store, LocalStore):
        with named_errors(store.path):
            store.path.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            if part is None:
                lock = held.enter_context(exclusive(store))
                check_no_parts(store)
            else:
                lock = held.enter_context(locked_part(store, part))
        except UnwritableError:
            if not store.exists(DATASET_FILE):
                raise
            lock, part = KernelLock(), None
        yield OutputFolder(store, lock, part)


def _is_ours(name: str) -> bool:
    """Tell whether a file below OUT was written by this program, finished or not."""
    top, _, below = name.partition("/")
    if top == PARTS_FOLDER:
        return "/" in name and OURS.fullmatch(below) is not None
    if top == PROGRESS_FOLDER and _CHUNK.fullmatch(below):
        return True
    whole = re.fullmatch(rf"\.(.+){re.escape(PARTIAL_SUFFIX)}", below or top)
    file = whole[1] if whole else below or top
    if top == PROGRESS_FOLDER and "/" in name:
        return not below or f"{top}/{file}" in _PROGRESS_FILES or _RECORD.fullmatch(file) is not None
    if top == COLUMN_FOLDER and "/" in name:
        return is_column_file(name)
    if top == SHARD_FOLDER and "/" in name:
        return not below or _SHARD.fullmatch(file) is not None
    return "/" not in name and (file in (DATASET_FILE, *TABLES) or is_lock(file))


def _is_dataset(store: Store) -> bool:
    try:
        read_dataset(store.location)
    except InputError:
        return False
    return True


def _plan_of(info: DatasetInfo) -> dict[str, Any]:
    return without_own_version(make_plan(info))
