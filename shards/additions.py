"""Additions to a shard directory, as `dataset.json` records them.

A directory that was made at once has one addition and no record of it: counts and settings say the same.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Sums = tuple[float, float, int]
"""Sum, sum of squares and count of the values of an fbank."""


@dataclass(frozen=True)
class ShardRange:
    """Planned shards of one split: the indices `[first, first + count)`."""

    first: int
    count: int

    @property
    def end(self) -> int:
        """First index behind the range."""
        return self.first + self.count


@dataclass(frozen=True)
class Addition:
    """Clips that were planned at once, and their shards.

    Attributes:
        plan_sha256: hash of the planned clips (keys, splits, sources, labels).
        clips_per_shard: number of clips that a shard is planned for.
        shards: split to its planned shards; splits without any are left out.
        counts: split to `{"written": n, "quarantined": n}`.
        sums: fbank name to the sums over the values of the written training clips.
    """

    plan_sha256: str
    clips_per_shard: int
    shards: dict[str, ShardRange]
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    sums: dict[str, Sums] = field(default_factory=dict)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Addition:
        """Read an entry of `additions`, in which `addition_fault` finds no fault."""
        return cls(
            plan_sha256=content["plan_sha256"],
            clips_per_shard=content["clips_per_shard"],
            shards={split: ShardRange(**each) for split, each in content["shards"].items()},
            counts=content["counts"],
            sums={name: (sums[0], sums[1], sums[2]) for name, sums in content["sums"].items()},
        )

    def holds(self, split: str, index: int) -> bool:
        """Tell whether a shard is one of the addition's."""
        found = self.shards.get(split)
        return found is not None and found.first <= index < found.end

    def holds_shard(self, name: str) -> bool:
        """Tell whether the shard with a file name such as `train-000003.tar` is one of the addition's."""
        split, _, index = name.removesuffix(".tar").partition("-")
        return self.holds(split, int(index))

    def planned(self, split: str) -> int:
        """Return the number of planned clips of a split."""
        return sum(self.counts.get(split, {}).values())


def shard_numbers(additions: Sequence[Addition]) -> Callable[[str], int | None]:
    """Return a function from a shard's file name to the number of its addition; None for a shard of none."""
    ranges: dict[str, list[tuple[int, int, int]]] = {}
    for number, addition in enumerate(additions):
        for split, each in addition.shards.items():
            if each.count:
                ranges.setdefault(split, []).append((each.first, each.end, number))
    for found in ranges.values():
        found.sort()

    def number_of(name: str) -> int | None:
        split, _, digits = name.removesuffix(".tar").partition("-")
        found, index = ranges.get(split, []), int(digits)
        place = bisect.bisect_right(found, index, key=lambda each: each[0]) - 1
        return found[place][2] if place >= 0 and index < found[place][1] else None

    return number_of


def planned_ranges(
    clips: Mapping[str, int], clips_per_shard: int, first: Mapping[str, int]
) -> dict[str, ShardRange]:
    """Return the shards that the planned `clips` of each split need, from the index `first` on."""
    return {
        split: ShardRange(first.get(split, 0), math.ceil(count / clips_per_shard))
        for split, count in clips.items()
        if count
    }


def additions_fault(content: Any, splits: tuple[str, ...]) -> str | None:
    """Return the fault in the field `additions` of `dataset.json`; None when there is none."""
    if not isinstance(content, list | tuple):
        return f"additions is {type(content).__name__} {str(content)[:40]!r}, expected a list"
    for number, each in enumerate(content):
        if fault := _addition_fault(each, splits):
            return f"additions[{number}]: {fault}"
    return None


def _addition_fault(content: Any, splits: tuple[str, ...]) -> str | None:
    if not isinstance(content, dict) or not isinstance(content.get("plan_sha256"), str):
        return "lacks plan_sha256"
    if not _is_count(content.get("clips_per_shard"), least=1):
        return f"clips_per_shard is {str(content.get('clips_per_shard'))[:40]!r}, expected a number from 1 on"
    for name, fields in (("shards", ("first", "count")), ("counts", ("written", "quarantined"))):
        by_split = content.get(name)
        if not isinstance(by_split, dict) or not by_split.keys() <= set(splits):
            return f"{name} is {str(by_split)[:40]!r}, expected {' and '.join(fields)} by split"
        for split, numbers in by_split.items():
            if (
                not isinstance(numbers, dict)
                or numbers.keys() != set(fields)
                or not all(map(_is_count, numbers.values()))
            ):
                return f"{name}.{split} is {str(numbers)[:40]!r}, expected {' and '.join(fields)}"
    sums = content.get("sums")
    if not isinstance(sums, dict) or not all(map(_is_sums, sums.values())):
        return f"sums is {str(sums)[:40]!r}, expected sum, sum of squares and count by fbank"
    return None


def _is_sums(value: Any) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 3:
        return False
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in value)
    return numbers and all(map(math.isfinite, value)) and value[2] >= 0


def _is_count(value: Any, *, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 1 << 40
