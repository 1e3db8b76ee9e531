"""Shards that are made in a finished directory: those of an addition, and those that are made again.

Former shards are neither written nor read, except those that are made again and, where the sums of the sound
are not recorded, those of training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...console import message
from ...errors import StgcmaError
from ...shards.additions import Addition, Sums, shard_numbers
from ...shards.schema import MANIFEST_FILE, QUARANTINE_FILE, SHARD_FOLDER, ClipRecord, place_of
from ...shards.shard_checks import shard_faults
from .finished import Tables, failed_clips, fbank_sums_of, sorted_out, wrong_sizes
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
        kept: results of the former shards that are kept, without sums. Those of an addition of which all are
            kept are one result a split, under the index of its first shard.
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
    number_of = shard_numbers(former.info.all_additions)
    sealed = [n for n, tasks in enumerate(layout.tasks[: layout.finished]) if tasks is None]
    old = [task for tasks in layout.tasks[: layout.finished] for task in tasks or ()]
    new = [task for tasks in layout.tasks[layout.finished :] for task in tasks or ()]
    tables = _tables(former)
    cut = _cut(former, tables, before.again)
    flags = {"retry_quarantined": retry_quarantined, "repair": repair}
    again = _again(former, [task for task in old if task.name not in before.again], tables, cut, **flags)
    again |= before.again
    if sealed:
        _check_sealed_additions(former, sealed, tables, cut, **flags)
    if not (former.begun or former.damaged or again or new):
        return None
    needed = _needed_sums(former, tables, again)
    sums, lost = _read_sums(former, needed, before.sums)
    _check_sealed([name for name in lost if number_of(name) in sealed], former)
    failed = before.failed if former.begun else _failed(old, tables)
    renamed = before.renamed if former.begun else dict(layout.renamed)
    shards = FormerShards(frozenset(again | lost), sums, failed, renamed)
    if not former.begun:
        former.set_aside(plan, shards, layout.planned)
    else:
        output.check_plan(plan)
        if shards != before:
            former.update(shards)
    tasks = (*(task for task in old if task.name in shards.again), *new)
    return amendment_of(former, shards, tasks)


def amendment_of(former: Former, shards: FormerShards, tasks: Sequence[ShardTask] = ()) -> Amendment:
    """Return the work on a finished directory, with the results of the shards that are kept."""
    recorded = _recorded(former.info.all_additions, shards.again)
    return Amendment(tuple(tasks), tuple(_kept_results(former, shards)), shards.sums, recorded)


def _again(
    former: Former,
    tasks: Sequence[ShardTask],
    tables: Tables,
    cut: dict[str, str],
    *,
    retry_quarantined: bool,
    repair: bool,
) -> set[str]:
    """Return the names of those shards of `tasks` that have to be made again."""
    names = {task.name for task in tasks}
    if tables.manifest is None:
        if names:
            message(
                f"without {MANIFEST_FILE} nothing says what the shards' bytes must be; all are made again"
            )
        return names
    _, kept = sorted_out(former.store, tasks, tables, cut, retry_quarantined=retry_quarantined, repair=repair)
    return names - {result.name for result in kept}


def _recorded(additions: Sequence[Addition], again: frozenset[str] | set[str]) -> frozenset[int]:
    """Return the numbers of the additions whose recorded sums remain right."""
    return frozenset(
        number
        for number, addition in enumerate(additions)
        if addition.sums and not _has_training_shard(addition, again)
    )


def _needed_sums(former: Former, tables: Tables, again: set[str]) -> list[ClipRecord]:
    """Return the rows of the kept training shards whose sums are not part of recorded ones."""
    additions = former.info.all_additions
    number_of, recorded = shard_numbers(additions), _recorded(additions, again)
    return [
        record
        for record in tables.manifest or ()
        if record.split == "train" and record.shard not in again and number_of(record.shard) not in recorded
    ]


def _failed(tasks: Sequence[ShardTask], tables: Tables) -> dict[str, int]:
    """Return the number of rows of the quarantine of each shard of `tasks` that has any."""
    written: dict[str, list[ClipRecord]] = defaultdict(list)
    for record in tables.manifest or ():
        written[record.shard].append(record)
    found = failed_clips(tasks, written, tables.quarantine)
    return {name: len(rows) for name, rows in found.items() if rows}


def _kept_results(former: Former, shards: FormerShards) -> Iterator[ShardResult]:
    """Yield the results of the kept shards; one result a split for additions of which all are kept."""
    tables, additions = _tables(former), former.info.all_additions
    if tables.manifest is None:
        return
    written: dict[str, list[ClipRecord]] = defaultdict(list)
    for record in tables.manifest:
        written[record.shard].append(record)
    rows = tables.quarantine or []
    where = str(former.store)
    failed = quarantined_by_addition(additions, rows, where=where) if tables.quarantine is not None else {}
    # Ranges in a damaged file may be of any size; shards without a row have no result.
    number_of = shard_numbers(additions)
    shards_of: dict[tuple[int | None, str], list[tuple[int, str]]] = defaultdict(list)
    for name in written.keys() | shards.failed.keys():
        split, index = place_of(name)
        shards_of[number_of(name), split].append((index, name))
    for number, addition in enumerate(additions):
        touched = any(map(addition.holds_shard, shards.again))
        for split, planned in addition.shards.items():
            own = failed.get((number, split), ())
            places = sorted(shards_of[number, split])
            if not touched:
                clips = tuple(record for _, name in places for record in written.get(name, ()))
                yield ShardResult(split, planned.first, clips, tuple(own), {})
                continue
            begin = 0
            for index, name in places:
                end = begin + shards.failed.get(name, 0)
                if name not in shards.again:
                    yield ShardResult(split, index, tuple(written.get(name, ())), tuple(own[begin:end]), {})
                begin = end


def _tables(former: Former) -> Tables:
    manifest = None if MANIFEST_FILE in former.damaged else former.manifest
    quarantine = None if QUARANTINE_FILE in former.damaged else former.quarantine
    return Tables(former.damaged, manifest, quarantine)


def _cut(former: Former, tables: Tables, again: frozenset[str]) -> dict[str, str]:
    rows = [(row.shard, row.bytes) for row in tables.manifest or () if row.shard not in again]
    return wrong_sizes(former.store, rows)


def _check_sealed_additions(
    former: Former,
    numbers: Sequence[int],
    tables: Tables,
    cut: dict[str, str],
    *,
    retry_quarantined: bool,
    repair: bool,
) -> None:
    """Check the additions whose clips are not in the list.

    Raises StgcmaError when one of their shards, or a table, is damaged.
    """
    additions = former.info.all_additions
    if tables.manifest is None or tables.quarantine is None:
        raise StgcmaError(
            f"{former.store.where(former.damaged[0])} is damaged, and the list lacks clips of it; give "
            "a RAW that has all of them"
        )
    number_of = shard_numbers(additions)
    bad = [shard for shard in cut if number_of(shard) in numbers]
    if repair:
        bad += _damaged(former, [row for row in tables.manifest if number_of(row.shard) in numbers])
    _check_sealed(bad, former)
    if retry_quarantined and any(
        count["quarantined"] for number in numbers for count in additions[number].counts.values()
    ):
        message("quarantined clips of an addition are not tried again, because the list lacks clips of it")


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
