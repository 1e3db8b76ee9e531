"""The small members of a split's clips: labels, masks and questions without frames and sound."""

from __future__ import annotations

from collections.abc import Iterator

from ...shards.manifest import read_manifest
from ...shards.reader import small_members
from ...shards.schema import SHARD_FOLDER
from ...shards.storage import Location, open_store


def split_members(shards: Location, split: str, suffixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Yield suffix and content of every member of `split` whose suffix is one of `suffixes`."""
    store = open_store(shards)
    for shard in dict.fromkeys(record.shard for record in read_manifest(shards, split=split)):
        yield from small_members(store, f"{SHARD_FOLDER}/{shard}", suffixes)
