"""A summary of a shard directory, read from its three tables only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..preprocess.collections import published
from ..shards.distributions import Distribution, distributions, flag_counts
from ..shards.manifest import read_dataset, read_manifest, read_quarantine
from ..shards.published import ALL
from ..shards.schema import SPLITS, ClipRecord, DatasetInfo, QuarantineRecord
from ..shards.statistics import leaks
from ..shards.storage import Location


@dataclass(frozen=True)
class SplitCount:
    """The clips of a split.

    Attributes:
        name: of the split.
        written: clips in the shards.
        quarantined: clips that could not be made.
        published: clips that the collection has, None when unknown.
        seconds: the length of the written clips.
    """

    name: str
    written: int
    quarantined: int
    published: int | None
    seconds: float


@dataclass(frozen=True)
class QuarantineReason:
    """The number of clips quarantined for one reason, and the first of them."""

    reason: str
    clips: int
    example: QuarantineRecord


@dataclass(frozen=True)
class ShardAccount:
    """A shard directory in numbers.

    Attributes:
        location: of the directory.
        info: its `dataset.json`.
        manifest: its written clips.
        splits: the splits with written or quarantined clips, and their sum.
        failures: the quarantined clips by reason, the most frequent first.
        warnings: warning to number of clips; numbers in a warning are replaced by N.
        leaks: pairs of splits to the sources that are in both.
        measured: statistic of the clips to its distribution; empty for clips of earlier versions.
        flagged: `still` and `mute` to their number of clips, likewise.
    """

    location: str
    info: DatasetInfo
    manifest: list[ClipRecord]
    splits: tuple[SplitCount, ...]
    failures: tuple[QuarantineReason, ...]
    warnings: dict[str, int]
    leaks: dict[str, list[str]]
    measured: dict[str, Distribution]
    flagged: dict[str, int]


def read_account(location: Location) -> ShardAccount:
    """Read the tables of a shard directory. Raises InputError when they are missing or damaged."""
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
        measured=distributions(manifest),
        flagged=flag_counts(manifest),
    )


def warning_kind(warning: str) -> str:
    """Return the warning with N for its numbers, so that similar ones can be counted together."""
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


def _failures(quarantine: Sequence[QuarantineRecord]) -> tuple[QuarantineReason, ...]:
    by_reason: dict[str, list[QuarantineRecord]] = {}
    for record in quarantine:
        by_reason.setdefault(record.reason, []).append(record)
    ranked = sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(QuarantineReason(reason, len(records), records[0]) for reason, records in ranked)
