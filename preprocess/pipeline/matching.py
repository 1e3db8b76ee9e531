"""Assignment of the clips of a collection to the additions in which they were planned."""

from __future__ import annotations

import dataclasses
import hashlib
from array import array
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...errors import InputError
from ...shards.additions import Addition, shard_numbers
from ...shards.schema import PLANNED_FILE, SPLITS, ClipRecord, PlannedRecord, QuarantineRecord
from ..collections.clip_list import ClipList, by_split
from ..collections.specification import ClipSpecification, plan_hash


@dataclass(frozen=True)
class Matched:
    """Clips of a list, compared with those that were planned before.

    Attributes:
        planned: the planned clips in the order of planning, with hashes where they are known.
        clips: of each addition its clips in that order; None where the list does not give all of them as they
            were planned.
        new: clips that were not planned.
        missing: keys of planned clips that the list lacks.
        moved: keys of clips that the list has in another split than they were planned for.
        changed: keys of clips whose specification differs in another way.
    """

    planned: tuple[PlannedRecord, ...]
    clips: tuple[Sequence[ClipSpecification] | None, ...]
    new: Sequence[ClipSpecification]
    missing: tuple[str, ...]
    moved: tuple[str, ...]
    changed: tuple[str, ...]


def clip_hash(clip: ClipSpecification) -> str:
    """Return the hash of everything that decides a clip's sample."""
    return hashlib.sha256(clip.plan_text.encode()).hexdigest()


def planned_rows(clips: Sequence[ClipSpecification], addition: int) -> list[PlannedRecord]:
    """Return the rows of `planned.parquet` for the clips of an addition."""
    return [PlannedRecord(clip.key, clip.split, addition, clip_hash(clip)) for clip in clips]


def rows_of_tables(
    additions: Sequence[Addition],
    manifest: Sequence[ClipRecord],
    quarantine: Sequence[QuarantineRecord],
    *,
    where: str,
) -> list[PlannedRecord]:
    """Return the planned clips as both tables tell them: without hashes, and in another order.

    Raises InputError naming `where` when the tables do not fit the counts of the additions.
    """
    failed = quarantined_by_addition(additions, quarantine, where=where)
    number_of = shard_numbers(additions)
    written: dict[tuple[int, str], list[str]] = defaultdict(list)
    for record in manifest:
        number = number_of(record.shard)
        if number is None:
            raise InputError(f"{where}: {record.shard} is in the manifest, but in no addition")
        written[number, record.split].append(record.key)
    rows = []
    for number in range(len(additions)):
        for split in SPLITS:
            keys = written[number, split] + [record.key for record in failed[number, split]]
            rows += [PlannedRecord(key, split, number, "") for key in keys]
    return rows


def quarantined_by_addition(
    additions: Sequence[Addition], quarantine: Sequence[QuarantineRecord], *, where: str
) -> dict[tuple[int, str], Sequence[QuarantineRecord]]:
    """Return the quarantine's rows by addition and split, which are in the order of the shards."""
    rows, begin = {}, 0
    for split in SPLITS:
        for number, addition in enumerate(additions):
            end = begin + addition.counts.get(split, {}).get("quarantined", 0)
            rows[number, split] = quarantine[begin:end]
            begin = end
    if begin != len(quarantine):
        raise InputError(f"{where}: the quarantine has {len(quarantine)} rows, {begin} are counted")
    return rows


def match(
    clips: Sequence[ClipSpecification], planned: Sequence[PlannedRecord], additions: Sequence[Addition]
) -> Matched:
    """Assign `clips` to the additions that planned them, each key's uses in the order of planning.

    A clip in another split than planned is taken with the planned one, in which it was written. Raises
    InputError for a planned clip of an addition that does not exist.
    """
    waiting: dict[str, int] = {}  # of each key the next use, and the uses after it
    later: dict[str, deque[int]] = {}
    positions_of = [array("Q") for _ in additions]
    for position, row in enumerate(planned):
        if not 0 <= row.addition < len(additions):
            raise InputError(f"{PLANNED_FILE} has clips of addition {row.addition + 1}, which does not exist")
        if waiting.setdefault(row.key, position) != position:
            later.setdefault(row.key, deque()).append(position)
        positions_of[row.addition].append(position)
    listed_of = [ClipList() for _ in additions]  # in the order of the list
    place_of = array("q", [-1]) * len(planned)  # of a planned clip in that list; -1 where it is missing
    new, moved, changed = ClipList(), [], []
    for clip in clips:
        found = waiting.pop(clip.key, None)
        if found is None:
            new.append(clip)
            continue
        if uses := later.get(clip.key):
            waiting[clip.key] = uses.popleft()
        row = planned[found]
        if clip.split != row.split:
            moved.append(clip.key)
            clip = dataclasses.replace(clip, split=row.split)
        if row.clip_sha256 and clip_hash(clip) != row.clip_sha256:
            changed.append(clip.key)
        place_of[found] = len(listed_of[row.addition])
        listed_of[row.addition].append(clip)
    rows: list[PlannedRecord] = []
    assigned: list[Sequence[ClipSpecification] | None] = []
    for addition, positions, listed in zip(additions, positions_of, listed_of, strict=True):
        ordered = None
        if len(listed) == len(positions):
            known = all(planned[position].clip_sha256 for position in positions)
            order = [place_of[position] for position in positions] if known else []
            orders = iter([ClipList(listed.chosen(order))]) if known else _orders(listed)
            ordered = _in_order(orders, addition.plan_sha256)
        assigned.append(ordered)
        if ordered is None:
            rows += [planned[position] for position in positions]
        else:
            rows += planned_rows(ordered, len(assigned) - 1)
    missing = [row.key for position, row in enumerate(planned) if place_of[position] < 0]
    return Matched(tuple(rows), tuple(assigned), new, tuple(missing), tuple(moved), tuple(changed))


def _in_order(orders: Iterable[ClipList], plan_sha256: str) -> ClipList | None:
    """Return the first of the orders of an addition's clips that gives its hash; None when none does."""
    return next((order for order in orders if plan_hash(order) == plan_sha256), None)


def _orders(clips: ClipList) -> Iterator[ClipList]:
    """Yield the orders in which a collection's reader may have listed clips that are in other splits now."""
    yield clips
    yield by_split(clips)
    yield by_split(sorted(clips, key=lambda clip: clip.source))
