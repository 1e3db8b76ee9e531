"""Division of a collection's clips into shards."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ...shards.schema import SPLITS, ClipRecord, shard_name
from ..collections.clip_list import by_split, packed
from ..collections.specification import ClipSpecification, Collection

# Enough shards for many workers in a small collection: some 50 MB each.
CLIPS_PER_SHARD = 32
LARGE_COLLECTION_CLIPS = 20_000
# In a large collection, few enough files: as many clips as fit, a power of two, give 128 to 256 MiB.
_SHARD_BYTES = 256 << 20
_FRAME_BYTES = 20_000  # of 224×224 pixels as JPEG of quality 95, on average


@dataclass(frozen=True)
class ShardTask:
    """Clips of one shard: the unit of work, completed or made again.

    Attributes:
        split, index: of the shard.
        clips: its clips, in order.
        former: rows of the shard that is there, whose intact clips are not made again.
        retry: make clips again that failed in an interrupted try.
    """

    split: str
    index: int
    clips: Sequence[ClipSpecification]
    former: tuple[ClipRecord, ...] = ()
    retry: bool = False

    @property
    def name(self) -> str:
        """File name of the shard."""
        return shard_name(self.split, self.index)


def limited(collection: Collection, limit: int) -> Collection:
    """Return `collection` with at most `limit` clips, from every split in proportion, at least one."""
    clips = packed(collection.clips)
    share = limit / max(len(clips), 1)
    most = {split: max(math.floor(count * share), 1) for split, count in clips.counts().items()}
    kept: dict[str, list[ClipSpecification]] = {split: [] for split in SPLITS}
    for clip in clips:
        if len(kept[clip.split]) < most[clip.split]:
            kept[clip.split].append(clip)
    chosen = [clip for split in SPLITS for clip in kept[split]]
    return dataclasses.replace(collection, clips=tuple(chosen[:limit]))


def default_clips_per_shard(clips: int, features: Mapping[str, Any]) -> int:
    """Return the number of clips in each shard for a collection of `clips` clips.

    `features` are those of `dataset.json`, from which the bytes of a clip follow.
    """
    if clips <= LARGE_COLLECTION_CLIPS:
        return CLIPS_PER_SHARD
    sampling = features["sampling"]
    float16_bytes = 2
    fbanks = sum(kind["target_frames"] * kind["mel_bins"] for kind in features["fbanks"].values())
    clip_bytes = sampling["frames"] * _FRAME_BYTES + sampling["windows"] * fbanks * float16_bytes
    return max(1 << int(math.log2(max(_SHARD_BYTES / clip_bytes, 1))), CLIPS_PER_SHARD)


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
    used = set(planned)
    listed = packed(clips)
    ranges = listed.ranges()
    if ranges is None or used or not listed.keys_differ:
        listed = by_split(_without_repetitions(listed, used))
        ranges = listed.ranges() or {}
    return [
        ShardTask(split, index, listed[start : min(start + clips_per_shard, places.stop)])
        for split, places in ranges.items()
        for index, start in enumerate(range(places.start, places.stop, clips_per_shard), first.get(split, 0))
    ]


def _without_repetitions(
    clips: Iterable[ClipSpecification], used: Iterable[str]
) -> Iterator[ClipSpecification]:
    seen = set(used)
    for clip in clips:
        if clip.key in seen:
            clip = dataclasses.replace(clip, problem=("duplicate-key", f"{clip.key} is planned twice"))
        seen.add(clip.key)
        yield clip
