"""What a shard directory holds, from its three tables alone: no shard is opened."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..preprocess.collections import published
from ..shards.manifest import read_dataset, read_manifest, read_quarantine
from ..shards.published import ALL
from ..shards.schema import SPLITS, ClipRecord, DatasetInfo, QuarantineRecord
from ..shards.statistics import leaks
from ..shards.storage import Location


@dataclass(frozen=True)
class SplitCount:
    """A split's clips. `published` is how many there should be, None where that is not known."""

    name: str
    written: int
    quarantined: int
    published: int | None
    seconds: float


@dataclass(frozen=True)
class Failure:
    """Clips that were put aside for one reason, and what is said of the first of them."""

    reason: str
    clips: int
    example: QuarantineRecord


@dataclass(frozen=True)
class ShardAccount:
    """A shard directory in numbers.

    Attributes:
        splits: the splits that hold or lost clips, and all together.
        warnings: warning to the clips that carry it; numbers in it are shown as N.
        leaks: pairs of splits to the sources that are in both.
    """

    location: str
    info: DatasetInfo
    manifest: list[ClipRecord]
    splits: tuple[SplitCount, ...]
    failures: tuple[Failure, ...]
    warnings: dict[str, int]
    leaks: dict[str, list[str]]


def read_account(location: Location) -> ShardAccount:
    """Reads the tables of a finished directory. Raises InputError when it is none, or damaged."""
    info, manifest, quarantine = read_dataset(location), read_manifest(location), read_quarantine(location)
    warnings = Counter(warning_kind(warning) for record in manifest for warning in record.warnings)
    return ShardAccount(
        location=str(location),
        info=info,
        manifest=manifest,
        splits=_splits(info, manifest),
        failures=_failures(quarantine),
        warnings=dict(warnings.most_common()),
        leaks=leaks(manifest),
    )


def warning_kind(warning: str) -> str:
    """The warning without its numbers, so that equal ones can be counted."""
    return re.sub(r"\d+(?:\.\d+)?", "N", warning)


def _splits(info: DatasetInfo, manifest: Sequence[ClipRecord]) -> tuple[SplitCount, ...]:
    known = published(info.name)
    seconds = dict.fromkeys(SPLITS, 0.0)
    for record in manifest:
        seconds[record.split] += record.seconds
    counts = {split: info.counts.get(split, {"written": 0, "quarantined": 0}) for split in SPLITS}
    expected = {split: known.clips_of(split) if known else None for split in (*SPLITS, ALL)}
    rows = [
        SplitCount(split, count["written"], count["quarantined"], expected[split], seconds[split])
        for split, count in counts.items()
        if any(count.values())
    ]
    written, quarantined = (
        sum(count[kind] for count in counts.values()) for kind in ("written", "quarantined")
    )
    return (*rows, SplitCount(ALL, written, quarantined, expected[ALL], sum(seconds.values())))


def _failures(quarantine: Sequence[QuarantineRecord]) -> tuple[Failure, ...]:
    by_reason: dict[str, list[QuarantineRecord]] = {}
    for record in quarantine:
        by_reason.setdefault(record.reason, []).append(record)
    ranked = sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(Failure(reason, len(records), records[0]) for reason, records in ranked)
