"""Shards of clips with labels, from the clips of other shards: nothing is encoded or decoded."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from stgcma.shards.manifest import (
    read_dataset,
    read_manifest,
    write_dataset,
    write_manifest,
    write_quarantine,
)
from stgcma.shards.reader import ClipReader, clip_places
from stgcma.shards.schema import SHARD_FOLDER, Sample
from stgcma.shards.writer import write_shard

CLASSES = ("bell", "dog, barking", "rain")


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def write_labelled(source: Path, out: Path, *, several: bool, classes=CLASSES) -> Path:
    """Write the clips of the AVE shards `source` with the labels of `classes` in turn.

    A clip has one label or, with `several`, two, one or none in turn.
    """
    info, records = read_dataset(source), list(read_manifest(source))
    reader = ClipReader(source)
    (out / SHARD_FOLDER).mkdir(parents=True)
    written, counts = [], {}
    for split in info.counts:
        samples = []
        chosen = [one for one in zip(records, clip_places(records), strict=True) if one[0].split == split]
        for number, (record, place) in enumerate(chosen):
            members = reader.read(place, check=True)
            del members["label.npy"], members["json"]
            tags = np.zeros(len(classes), np.uint8)
            if several:
                tags[[(number + step) % len(classes) for step in range(2 - number % 3)]] = 1
            else:
                tags[number % len(classes)] = 1
            samples.append(
                Sample(
                    key=record.key,
                    members=members | {"tags.npy": npy(tags)},
                    fields={},
                    source=record.source,
                    seconds=record.seconds,
                    fps=record.fps,
                    has_audio=record.has_audio,
                    decoder=record.decoder,
                )
            )
        written += write_shard(str(out / SHARD_FOLDER), split, 0, samples)
        counts[split] = {"written": len(samples), "quarantined": 0}
    reader.close()
    tables = {
        "manifest.parquet": write_manifest(str(out), written),
        "quarantine.parquet": write_quarantine(str(out), []),
    }
    labels = {"labels_per_clip": "several" if several else "one"}
    write_dataset(
        str(out),
        replace(
            info,
            name="labels",
            task="avc",
            features=info.features | labels,
            classes=classes,
            counts=counts,
            files=tables,
        ),
    )
    return out
