"""Shard directories of any size without videos: a few distinct clips, written by the product's own writer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stgcma.preprocess.datasets.ave import SAMPLING
from stgcma.preprocess.specification import FeatureSettings
from stgcma.shards.manifest import write_dataset, write_manifest, write_quarantine
from stgcma.shards.schema import SHARD_FOLDER, AudioStatistics, DatasetInfo, Sample, shard_name
from stgcma.shards.writer import write_shard

CLIPS_A_SHARD = 100


def write_directory(
    out: Path, clips: int, *, make: Callable[[int], dict[str, bytes]], distinct: int | None = None
) -> Path:
    """A finished AVE directory of `clips` training clips, a multiple of a shard's 100.

    `make` gives a clip's members by its number. Only the first `distinct` are written; further shards are
    hard links to theirs, so that a hundred thousand clips take no more disk than a few (and repeat their
    keys).
    """
    folder = out / SHARD_FOLDER
    folder.mkdir(parents=True)
    written = (distinct or clips) // CLIPS_A_SHARD
    records = []
    for index in range(clips // CLIPS_A_SHARD):
        if index < written:
            numbers = range(CLIPS_A_SHARD * index, CLIPS_A_SHARD * (index + 1))
            samples = (_sample(number, make(number)) for number in numbers)
            records += write_shard(str(folder), "train", index, samples)
            continue
        name = shard_name("train", index)
        (folder / name).hardlink_to(folder / shard_name("train", index % written))
        start = CLIPS_A_SHARD * (index % written)
        records += [record._replace(shard=name) for record in records[start : start + CLIPS_A_SHARD]]
    info = DatasetInfo(
        name="folder",
        task="ave",
        features=FeatureSettings(SAMPLING, ("clip",)).to_json(),
        classes=("a", "Background"),
        counts={"train": {"written": len(records), "quarantined": 0}},
        audio={"fbank_128": AudioStatistics(-5.0, 4.0)},
        versions={},
        plan_sha256="0" * 64,
        files={
            "manifest.parquet": write_manifest(str(out), records),
            "quarantine.parquet": write_quarantine(str(out), []),
        },
    )
    write_dataset(str(out), info)
    return out


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
