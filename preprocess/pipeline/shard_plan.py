"""Division of a collection's clips into shards."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ...shards.schema import SPLITS, shard_name
from ..collections.specification import ClipSpecification, Collection

# Enough shards for many workers in a small collection, few enough files in a large one: some 50 MB each.
CLIPS_PER_SHARD = 32


@dataclass(frozen=True)
class ShardTask:
    """Clips of one shard: the unit of work, completed or made again."""

    split: str
    index: int
    clips: tuple[ClipSpecification, ...]

    @property
    def name(self) -> str:
        """File name of the shard."""
        return shard_name(self.split, self.index)


def limited(collection: Collection, limit: int) -> Collection:
    """Return `collection` with at most `limit` clips, from every split in proportion, at least one."""
    share = limit / max(len(collection.clips), 1)
    kept: list[ClipSpecification] = []
    for split in SPLITS:
        clips = [clip for clip in collection.clips if clip.split == split]
        kept += clips[: max(math.floor(len(clips) * share), 1)]
    return dataclasses.replace(collection, clips=tuple(kept[:limit]))


def plan_shards(
    clips: Iterable[ClipSpecification],
    clips_per_shard: int = CLIPS_PER_SHARD,
    *,
    first: Mapping[str, int] = MappingProxyType({}),
    planned: Iterable[str] = (),
) -> list[ShardTask]:
    """Divide the clips of each split into shards, in order. A key's second use becomes a problem.

    Args:
        clips: the clips.
        clips_per_shard: number of clips in each shard.
        first: index of the first shard of each split; 0 by default.
        planned: keys that were used before.
    """
    seen = set(planned)
    by_split: dict[str, list[ClipSpecification]] = {split: [] for split in SPLITS}
    for clip in clips:
        if clip.key in seen:
            clip = dataclasses.replace(clip, problem=("duplicate-key", f"{clip.key} is planned twice"))
        seen.add(clip.key)
        by_split[clip.split].append(clip)
    return [
        ShardTask(split, index, tuple(clips_of_split[start : start + clips_per_shard]))
        for split, clips_of_split in by_split.items()
        for index, start in enumerate(range(0, len(clips_of_split), clips_per_shard), first.get(split, 0))
    ]
