"""Shards of chosen sizes, of the clips of another shard directory."""

from __future__ import annotations

import itertools
import json
import shutil

from stgcma.shards.manifest import read_dataset, read_manifest, write_dataset, write_manifest
from stgcma.shards.reader import ClipReader, clip_places
from stgcma.shards.schema import Sample
from stgcma.shards.writer import write_shard

MANY = {"train": (5, 1, 4, 3, 2, 6, 1), "val": (2, 1), "test": (1,)}  # clips of each shard
FEW = {"train": (3, 1, 2, 1, 1), "val": (2, 1), "test": (1,)}


def write_shards(source, out, sizes):
    """Write the clips of `source` again and again, under new keys, in shards of so many clips."""
    rows = read_manifest(source)
    reader = ClipReader(source)
    contents = [reader.read(place) for place in clip_places(rows)]
    reader.close()
    (out / "shards").mkdir(parents=True)
    written, numbers = [], itertools.count()
    for split, clips in sizes.items():
        for index, size in enumerate(clips):
            samples = [sample(rows, contents, next(numbers)) for _ in range(size)]
            written += write_shard(out / "shards", split, index, samples)
    info = read_dataset(source)
    files = info.files | {"manifest.parquet": write_manifest(out, written)}
    shutil.copy(source / "quarantine.parquet", out)
    counts = {split: {"written": sum(clips), "quarantined": 0} for split, clips in sizes.items()}
    write_dataset(out, type(info)(**{**vars(info), "files": files, "counts": counts}))


def sample(rows, contents, number):
    row, members = rows[number % len(rows)], dict(contents[number % len(rows)])
    fields = {
        name: value for name, value in json.loads(members.pop("json")).items() if name not in row._fields
    }
    return Sample(
        f"clip-{number:02d}", members, fields, row.source, row.seconds, row.fps, row.has_audio, row.decoder
    )
