"""Shards of LLP's kind, of clips of noise."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from stgcma.preprocess.collections.arrays import npy_bytes
from stgcma.preprocess.collections.llp import CLASSES, SAMPLING
from stgcma.preprocess.collections.specification import FeatureSettings
from stgcma.shards.manifest import write_dataset, write_manifest, write_quarantine
from stgcma.shards.schema import AudioStatistics, DatasetInfo, Sample
from stgcma.shards.writer import write_shard

COUNTS = {"train": 3, "val": 1, "test": 2}


def sample(split, number):
    """A clip of noise with two events; the second training clip has them by second, the others as tags."""
    rng = np.random.default_rng([number, *split.encode()])
    members = {}
    for frame in range(SAMPLING.frames):
        buffer = io.BytesIO()
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
        coarse.resize((224, 224)).save(buffer, "JPEG")
        members[f"frame_{frame:02d}.jpg"] = buffer.getvalue()
    members["fbank_128.npy"] = npy_bytes(rng.standard_normal((10, 98, 128)).astype(np.float16))
    events = np.zeros((2, 10, len(CLASSES)), np.uint8)
    events[0, 2:6, 0] = events[1, 4:9, 3] = 1
    members["tags.npy"] = npy_bytes(events.any((0, 1)).astype(np.uint8))
    if split != "train" or number == 1:
        members["events.npy"] = npy_bytes(events)
    key = f"{split}-{number}"
    return Sample(key, members, {}, f"video/{key}.mp4", 10.0, 25.0, True, "pyav")


def write_avvp(folder):
    """Write a shard directory with `COUNTS` clips of each split to `folder`."""
    (folder / "shards").mkdir(parents=True)
    records = []
    for split, count in COUNTS.items():
        clips = [sample(split, number) for number in range(count)]
        records += write_shard(folder / "shards", split, 0, clips)
    info = DatasetInfo(
        name="llp",
        task="avvp",
        features=FeatureSettings(SAMPLING, ("clip",)).to_json(),
        classes=CLASSES,
        counts={split: {"written": count, "quarantined": 0} for split, count in COUNTS.items()},
        audio={"fbank_128": AudioStatistics(0.0, 1.0)},
        versions={},
        plan_sha256="0" * 64,
        files={
            "manifest.parquet": write_manifest(folder, records),
            "quarantine.parquet": write_quarantine(folder, []),
        },
    )
    write_dataset(folder, info)
