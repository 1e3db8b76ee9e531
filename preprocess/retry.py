"""`--retry-quarantined`: which shards of a directory need not be made again."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np

from ..console import message
from ..errors import StgcmaError
from ..shards.manifest import read_manifest
from ..shards.reader import ClipReader, clip_places
from ..shards.schema import SHARD_FOLDER, ClipRecord, shard_name
from ..shards.storage import Location, open_store
from .engines import ShardTask
from .output import ShardResult
from .sample import add_sums, fbank_sums


def flawless_shards(location: Location, tasks: Sequence[ShardTask]) -> Iterator[ShardResult]:
    """The results of the shards of a finished directory that lack none of their clips.

    The training shards are read, for the sums that the audio statistics are made of. One that is damaged, or
    a shard of any split that is missing or cut, is left out, so that it is made again.
    """
    store = open_store(location)
    written: dict[str, list[ClipRecord]] = {}
    for record in read_manifest(location):
        written.setdefault(record.shard, []).append(record)
    for task in tasks:
        records = written.get(shard_name(task.split, task.index), [])
        if len(records) < len(task.clips):
            continue
        try:
            sums = _sums(location, records) if task.split == "train" else {}
        except StgcmaError as error:
            message(f"{error}; it is made again")
            continue
        result = ShardResult(task.split, task.index, tuple(records), (), sums)
        if store.size_bytes(f"{SHARD_FOLDER}/{result.name}") == result.bytes:
            yield result
        else:
            message(f"{store.where(f'{SHARD_FOLDER}/{result.name}')} is missing or cut; it is made again")


def _sums(location: Location, records: list[ClipRecord]) -> dict[str, tuple[float, float, int]]:
    """Adds up in the order in which the shard's maker did."""
    sums: dict[str, tuple[float, float, int]] = {}
    reader = ClipReader(location)
    try:
        for place in clip_places(records):
            for name, content in reader.read(place, check=True).items():
                if name.startswith("fbank_"):
                    features = np.load(io.BytesIO(content), allow_pickle=False)
                    add_sums(sums, {name.removesuffix(".npy"): fbank_sums(features)})
    finally:
        reader.close()
    return sums
