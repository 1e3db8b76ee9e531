"""Division of a collection's clips into shards."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from ...shards.schema import SPLITS
from ..collections.specification import ClipSpecification, Collection

# Enough shards for many workers in a small collection, few enough files in a large one: some 50 MB each.
CLIPS_PER_SHARD = 32


@dataclass(frozen=True)
class ShardTask:
    """Clips of one shard: the unit of work, completed or made again."""

    split: str
    index: int
    clips: tuple[ClipSpecification, ...]


def limited(collection: Collection, limit: int) -> Collection:
    """Return `collection` with at most `limit` clips, from every split in proportion, at least one."""
    share = limit / max(len(collection.clips), 1)
    kept: list[ClipSpecification] = []
    for split in SPLITS:
        clips = [clip for clip in collection.clips if clip.split == split]
        kept += clips[: max(math.floor(len(clips) * share), 1)]
    return dataclasses.replace(collection, clips=tuple(kept[:limit]))


def plan_shards(
    clips: tuple[ClipSpecification, ...], clips_per_shard: int = CLIPS_PER_SHARD
) -> list[ShardTask]:
    """Divide the clips of each split into shards, in order. A key's second use becomes a problem."""
    seen: set[str] = set()
    by_split: dict[str, list[ClipSpecification]] = {split: [] for split in SPLITS}
    for clip in clips:
        if clip.key in seen:
            clip = dataclasses.replace(clip, problem=("duplicate-key", f"{clip.key} is planned twice"))
        seen.add(clip.key)
        by_split[clip.split].append(clip)
    return [
        ShardTask(split, index, tuple(planned[start : start + clips_per_shard]))
        for split, planned in by_split.items()
        for index, start in enumerate(range(0, len(planned), clips_per_shard))
    ]
