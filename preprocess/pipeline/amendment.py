"""Shards that are made in a finished directory: those of an addition, and those that are made again.

Former shards are neither written nor read, except those that are made again and, where the sums of the sound
are not recorded, those of training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...console import message
from ...errors import StgcmaError
from ...shards.additions import Addition, Sums
from ...shards.schema import MANIFEST_FILE, QUARANTINE_FILE, SHARD_FOLDER, ClipRecord
from ...shards.verification import shard_faults
from .finished import Tables, fbank_sums_of, sorted_out, wrong_sizes
from .former import Former, FormerShards
from .layout import Layout
from .matching import quarantined_by_addition
from .output import OutputFolder
from .shard_plan import ShardTask
from .shard_result import ShardResult


@dataclass(frozen=True)
class Amendment:
    """Work on a finished directory.

    Attributes:
        tasks: the shards to make.
        kept: results of the former shards that are kept, without sums. Those of an addition whose clips are
            not in the list are one result a split, under the index of its first shard.
        sums: name of a kept training shard to its sums, for additions whose recorded sums are not used.
        recorded: numbers of the additions whose recorded sums are used.
    """

    tasks: tuple[ShardTask, ...]
    kept: tuple[ShardResult, ...]
    sums: Mapping[str, Mapping[str, Sums]]
    recorded: frozenset[int]


def amend(
    output: OutputFolder,
    former: Former,
    layout: Layout,
    plan: dict[str, Any],
    *,
    retry_quarantined: bool,
    repair: bool,
) -> Amendment | None:
    """Begin or continue the work of `layout` on a finished directory; None when nothing has to be done.

    A former shard is made again for the reasons that `finished.kept_shards` names.

    Raises InputError when a table is damaged and `repair` is not set, and StgcmaError when a shard has to be
    made again whose clips are not in the list.
    """
    former.check_whole(repair=repair)
    before = former.shards() if former.begun else FormerShards()
    additions = former.info.all_additions
    sealed = [n for n, tasks in enumerate(layout.tasks[: layout.finished]) if tasks is None]
    old = [task for tasks in layout.tasks[: layout.finished] for task in tasks or ()]
    new = [task for tasks in layout.tasks[layout.finished :] for task in tasks or ()]
    tables = _tables(former)
    cut = _cut(former, tables, before.again)
    kept = _kept(
        former, [task for task in old if task.name not in before.again], tables, cut,
        retry_quarantined=retry_quarantined, repair=repair,
    )  # fmt: skip
    again = {task.name for task in old} - {result.name for result in kept}
    if sealed:
        kept += _sealed(former, sealed, tables, cut, retry_quarantined=retry_quarantined, repair=repair)
    if not (former.begun or former.damaged or again or new):
        return None
    recorded = {
        number
        for number, addition in enumerate(additions)
        if addition.sums and not _has_training_shard(addition, again)
    }
    needed = [
        record
        for record in tables.manifest or ()
        if record.split == "train"
        and record.shard not in again
        and _number(record.shard, additions) not in recorded
    ]
    sums, lost = _read_sums(former, needed, before.sums)
    _check_sealed([name for name in lost if _number(name, additions) in sealed], former)
    again |= lost
    kept = [result for result in kept if result.name not in lost]
    shards = FormerShards(frozenset(again), sums)
    if not former.begun:
        former.set_aside(plan, shards, layout.planned)
    else:
        output.check_plan(plan)
        if shards != before:
            former.update(shards)
    tasks = (*(task for task in old if task.name in again), *new)
    return Amendment(tasks, tuple(kept), sums, frozenset(recorded))


def _tables(former: Former) -> Tables:
    manifest = None if MANIFEST_FILE in former.damaged else former.manifest
    quarantine = None if QUARANTINE_FILE in former.damaged else former.quarantine
    return Tables(former.damaged, manifest, quarantine)


def _cut(former: Former, tables: Tables, again: frozenset[str]) -> dict[str, str]:
    rows = [(row.shard, row.bytes) for row in tables.manifest or () if row.shard not in again]
    return wrong_sizes(former.store, rows)


def _kept(
    former: Former,
    tasks: Sequence[ShardTask],
    tables: Tables,
    cut: dict[str, str],
    *,
    retry_quarantined: bool,
    repair: bool,
) -> list[ShardResult]:
    """Return the results of those shards of `tasks` that need not be made again."""
    if tables.manifest is None:
        message(f"without {MANIFEST_FILE} nothing says what the shards' bytes must be; all are made again")
        return []
    _, kept = sorted_out(former.store, tasks, tables, cut, retry_quarantined=retry_quarantined, repair=repair)
    return kept


def _sealed(
    former: Former,
    numbers: Sequence[int],
    tables: Tables,
    cut: dict[str, str],
    *,
    retry_quarantined: bool,
    repair: bool,
) -> list[ShardResult]:
    """Return the results of additions whose clips are not in the list, one a split.

    Raises StgcmaError when one of their shards, or a table, is damaged.
    """
    additions = former.info.all_additions
    if tables.manifest is None or tables.quarantine is None:
        raise StgcmaError(
            f"{former.store.where(former.damaged[0])} is damaged, and the list lacks clips of it; give "
            "a RAW that has all of them"
        )
    failed = quarantined_by_addition(additions, tables.quarantine, where=former.store.location)
    written: dict[tuple[int, str], list[ClipRecord]] = defaultdict(list)
    for record in tables.manifest:
        number = _number(record.shard, additions)
        if number is not None and number in numbers:
            written[number, record.split].append(record)
    bad = [shard for shard in cut if _number(shard, additions) in numbers]
    if repair:
        bad += [shard for rows in written.values() for shard in _damaged(former, rows)]
    _check_sealed(bad, former)
    if retry_quarantined and any(failed[number, split] for number, split in failed if number in numbers):
        message("quarantined clips of an addition are not tried again, because the list lacks clips of it")
    return [
        ShardResult(split, shards.first, tuple(written[number, split]), tuple(failed[number, split]), {})
        for number in numbers
        for split, shards in additions[number].shards.items()
    ]


def _damaged(former: Former, records: Iterable[ClipRecord]) -> list[str]:
    by_shard: dict[str, list[ClipRecord]] = defaultdict(list)
    for record in records:
        by_shard[record.shard].append(record)
    return [
        shard
        for shard, rows in by_shard.items()
        if next(shard_faults(former.store, f"{SHARD_FOLDER}/{shard}", rows), None) is not None
    ]


def _check_sealed(shards: Iterable[str], former: Former) -> None:
    if shard := min(shards, default=None):
        raise StgcmaError(
            f"{former.store.where(f'{SHARD_FOLDER}/{shard}')} is missing or damaged, and cannot be made "
            "again: the list lacks clips that were planned with it; give a RAW that has all of them"
        )


def _number(shard: str, additions: Sequence[Addition]) -> int | None:
    """Return the number of the addition to which a shard belongs."""
    return next((number for number, each in enumerate(additions) if each.holds_shard(shard)), None)


def _has_training_shard(addition: Addition, shards: Iterable[str]) -> bool:
    return any(shard.startswith("train-") and addition.holds_shard(shard) for shard in shards)


def _read_sums(
    former: Former, records: Sequence[ClipRecord], known: Mapping[str, dict[str, Sums]]
) -> tuple[dict[str, dict[str, Sums]], set[str]]:
    """Return the sums of the shards of `records`, and the names of damaged ones, named on stderr."""
    by_shard: dict[str, list[ClipRecord]] = defaultdict(list)
    for record in records:
        by_shard[record.shard].append(record)
    if by_shard.keys() - known.keys():
        message("the training shards are read once, for the statistics of the sound")
    sums: dict[str, dict[str, Sums]] = {}
    lost = set()
    for shard, rows in by_shard.items():
        try:
            sums[shard] = known[shard] if shard in known else fbank_sums_of(former.store.location, rows)
        except StgcmaError as error:
            message(f"{error}; it is made again")
            lost.add(shard)
    return sums, lost
