"""A new directory with some of the clips of another (`stgcma shards subset`)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from ..bounded import parse_object
from ..errors import InputError
from .additions import Sums
from .fbank_sums import add_sums, audio_statistics, sums_of_members, total_sums
from .files import PARTIAL_SUFFIX, named_errors
from .locking import exclusive, is_lock
from .manifest import read_dataset, read_manifest, write_dataset, write_manifest, write_quarantine
from .places import ClipPlace
from .reader import ClipReader, clip_places
from .schema import (
    DATASET_FILE,
    MANIFEST_FILE,
    QUARANTINE_FILE,
    SHARD_FOLDER,
    SPLITS,
    ClipRecord,
    DatasetInfo,
    canonical_json,
    fingerprint,
)
from .storage import LocalStore, Location, ObjectStore, Store, absolute, open_store
from .tar_members import extent_members
from .where import Where
from .writer import end_of_archive

_PLAN = ".progress/subset.json"

_Clip = tuple[ClipRecord, ClipPlace]
OnClip = Callable[[], None]


@dataclass(frozen=True)
class Subset:
    """A directory of selected clips.

    Attributes:
        info: the content of its `dataset.json`.
        clips: number of clips of the other directory.
        unknown: number of its clips that lack a value of a column in the condition.
        was_complete: whether it was there already.
    """

    info: DatasetInfo
    clips: int
    unknown: int
    was_complete: bool

    @property
    def written(self) -> int:
        """Number of its clips."""
        return sum(count["written"] for count in self.info.counts.values())


def write_subset(
    source: Location,
    target: Location,
    condition: str,
    *,
    on_total: Callable[[int], None] = lambda _: None,
    on_clip: OnClip = lambda: None,
) -> Subset:
    """Write the clips of `source` for which a condition on the manifest is true into the new `target`.

    The bytes of clips are copied, after they are compared with their hashes. They stay in shards of the same
    names, which `KEY.json` states. An interrupted call continues when it is repeated. Columns are not copied.

    Args:
        source: a finished directory, a path or a URL.
        target: a new directory, a path or a URL.
        condition: as `Where` reads it.
        on_total: called with the number of clips to copy.
        on_clip: called for every clip that is copied.

    Raises:
        InputError: for a wrong condition, one that selects nothing, and a `target` with other content, to
            which another process is writing, or which cannot be written safely.
        StgcmaError: when a clip is damaged, or `target` cannot be written.
    """
    where, info, records = Where(condition), read_dataset(source), read_manifest(source)
    selection = where.select(source, keys=[record.key for record in records])
    chosen = list(itertools.compress(zip(records, clip_places(records), strict=True), selection.selected))
    if not chosen:
        raise InputError(
            f"where is {condition!r}, which selects none of the {len(records)} clips of {source}"
        )
    if f"{absolute(target)}/".startswith(f"{absolute(source).rstrip('/')}/"):
        raise InputError(f"NEW {target} is in OUT {source}, which holds no other files; choose another")
    subset = {"of": info.data_fingerprint, "where": condition}
    made = replace(
        info,
        features=info.features | {"subset": subset},
        plan_sha256=fingerprint({"plan": info.plan_sha256, "subset": subset}),
        additions=(),
    )
    with exclusive(_created(target)):
        there = _begin(open_store(target), made, subset)
        if there is None:
            on_total(len(chosen))
            written = _write(source, target, made, chosen, on_clip)
    return Subset(there or written, len(records), selection.unknown, was_complete=there is not None)


def _created(target: Location) -> Store:
    """Return the store of NEW, whose folder is created."""
    store = open_store(target)
    if isinstance(store, ObjectStore):
        store.check_writable()
    if isinstance(store, LocalStore):
        with named_errors(store.path):
            try:
                store.path.mkdir(parents=True, exist_ok=True)
            except FileExistsError:
                raise InputError(f"NEW {store} is a file, a folder is needed") from None
    return store


def _write(
    source: Location, target: Location, made: DatasetInfo, chosen: Sequence[_Clip], on_clip: OnClip
) -> DatasetInfo:
    """Write the shards, the tables and `dataset.json`; return its content."""
    store, sums = open_store(target), []
    with closing(ClipReader(source, ahead_bytes=1 << 23)) as reader:
        for _, group in itertools.groupby(chosen, key=lambda clip: clip[0].shard):
            sums.append(_copy_shard(reader, store, list(group), on_clip))
    written = [record for record, _ in chosen]
    counts = {
        split: {"written": sum(record.split == split for record in written), "quarantined": 0}
        for split in SPLITS
    }
    files = {
        MANIFEST_FILE: write_manifest(target, written),
        QUARANTINE_FILE: write_quarantine(target, []),
    }
    made = replace(made, counts=counts, audio=audio_statistics(total_sums(sums)), files=files)
    write_dataset(target, made)
    _end(store)
    return made


def _begin(store: Store, made: DatasetInfo, subset: dict[str, Any]) -> DatasetInfo | None:
    """Prepare the directory; return its `dataset.json` when it holds the whole subset already."""
    names = [name for name in store.names() if not is_lock(name)]
    if DATASET_FILE in names:
        there = read_dataset(store.location)
        if there.fingerprint != made.fingerprint:
            raise InputError(f"NEW {store} holds another shard directory; choose another folder")
        _end(store)
        return there
    if _PLAN not in names:
        if any(not name.endswith(f"{PARTIAL_SUFFIX}") for name in names):
            raise InputError(f"NEW {store} holds other files ({names[0]}, …); choose an empty or new folder")
        store.publish(_PLAN, canonical_json(subset))
    elif parse_object(store.read(_PLAN), where=store.where(_PLAN)) != subset:
        raise InputError(f"NEW {store} holds an unfinished subset of other clips; choose another folder")
    return None


def _end(store: Store) -> None:
    """Remove what an interrupted call left, and the plan."""
    for name in store.names():
        if name.endswith(PARTIAL_SUFFIX):
            store.remove(name)
    store.remove_folder(_PLAN.partition("/")[0])


def _copy_shard(reader: ClipReader, store: Store, clips: Sequence[_Clip], on_clip: OnClip) -> dict[str, Sums]:
    """Copy the clips of one shard; return the sums over the values of the fbanks of training clips."""
    size = sum(record.bytes for record, _ in clips)
    name = f"{SHARD_FOLDER}/{clips[0][0].shard}"
    total: dict[str, Sums] = {}

    def extents() -> Iterator[bytes]:
        for record, place in clips:
            extent = reader.read_extent(place)
            if record.split == SPLITS[0]:
                members = extent_members(extent)
                add_sums(
                    total, sums_of_members((name.partition(".")[2], content) for name, content in members)
                )
            on_clip()
            yield extent

    closing_bytes = end_of_archive(size)
    if store.size_bytes(name) == size + len(closing_bytes):  # copied before an interruption
        for _ in extents():
            pass
        return total
    with store.published(name) as stream:
        for extent in extents():
            stream.write(extent)
        stream.write(closing_bytes)
    return total
