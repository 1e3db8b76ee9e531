"""Shard directories of any size without videos: a few distinct clips, written by the product's own writer."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path

from stgcma.preprocess.collections.ave import SAMPLING
from stgcma.preprocess.collections.specification import FeatureSettings
from stgcma.shards.manifest import write_dataset, write_manifest, write_quarantine
from stgcma.shards.schema import SHARD_FOLDER, AudioStatistics, ClipRecord, DatasetInfo, Sample, shard_name
from stgcma.shards.writer import write_shard

CLIPS_A_SHARD = 100


def write_directory(
    out: Path, clips: dict[str, int], *, make: Callable[[int], dict[str, bytes]], distinct: int | None = None
) -> Path:
    """A finished AVE directory with so many `clips` of each split.

    `make` gives a clip's members by its number. Only the first `distinct` clips of a split (a multiple of a
    shard's 100) are written; further shards are hard links to theirs, so that a hundred thousand clips take
    no more disk than a few (and repeat their keys).
    """
    folder = out / SHARD_FOLDER
    folder.mkdir(parents=True)
    records: list[ClipRecord] = []
    counts, number = {}, 0
    for split, count in clips.items():
        own = []
        written = min(distinct or count, count)
        for index, start in enumerate(range(0, count, CLIPS_A_SHARD)):
            if start < written:
                numbers = range(number, number + min(CLIPS_A_SHARD, count - start))
                number = numbers.stop
                own += write_shard(str(folder), split, index, (_sample(each, make(each)) for each in numbers))
                continue
            name, first = shard_name(split, index), start % written
            (folder / name).hardlink_to(folder / shard_name(split, first // CLIPS_A_SHARD))
            own += [record._replace(shard=name) for record in own[first : first + CLIPS_A_SHARD]]
        records += own
        counts[split] = {"written": len(own), "quarantined": 0}
    info = DatasetInfo(
        name="folder",
        task="ave",
        features=FeatureSettings(SAMPLING, ("clip", "swin")).to_json(),
        classes=("a", "Background"),
        counts=counts,
        audio={"fbank_128": AudioStatistics(-5.0, 4.0), "fbank_224": AudioStatistics(-5.0, 4.0)},
        versions={},
        plan_sha256="0" * 64,
        files={
            "manifest.parquet": write_manifest(str(out), [*map(_with_source, records, itertools.count())]),
            "quarantine.parquet": write_quarantine(str(out), []),
        },
    )
    write_dataset(str(out), info)
    return out


def _with_source(record: ClipRecord, number: int) -> ClipRecord:
    """The row with a source file as rows have one: a table of rows that all repeat others is refused."""
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return record._replace(source_files=(record.source,), source_bytes=(1_000_000,), source_sha256=(digest,))


def _sample(number: int, members: dict[str, bytes]) -> Sample:
    return Sample(
        key=f"clip_{number:06d}",
        members=members,
        fields={"category": "a"},
        source=f"a/clip_{number:06d}.mp4",
        seconds=10.0,
        fps=25.0,
        has_audio=True,
        decoder="none",
    )
