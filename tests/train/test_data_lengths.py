"""Clips of two lengths in one batch: AVSS."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from stgcma.shards.manifest import (
    read_dataset,
    read_manifest,
    write_dataset,
    write_manifest,
    write_quarantine,
)
from stgcma.shards.members import frame_name
from stgcma.shards.reader import ClipReader, clip_places
from stgcma.shards.schema import SHARD_FOLDER, Sample
from stgcma.shards.writer import write_shard
from stgcma.train.batch import Collate
from stgcma.train.inputs import decode_frames

from ..labelled_shards import npy
from .conftest import item

FBANK = "fbank_224.npy"
CLASSES = ("background", "bell", "clock")


def class_mask(seed):
    pixels = np.random.default_rng(seed).integers(0, len(CLASSES), (224, 224), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return pixels, buffer.getvalue()


def semantic(members, *, repeats, masks):
    """Return the members of an AVSS clip: frames and windows of an AVS clip `repeats` times, and masks."""
    frames = [members[name] for name in sorted(members) if name.startswith("frame_")] * repeats
    fbank = np.load(io.BytesIO(members[FBANK]))
    found = {frame_name(number): content for number, content in enumerate(frames)}
    found |= {f"mask_{number:02d}.png": class_mask(number)[1] for number in masks}
    return found | {FBANK: npy(np.concatenate([fbank] * repeats))}


@pytest.fixture(scope="module")
def two_lengths(kept_shards, tmp_path_factory):
    """Two training clips: one of 5 frames with one mask, one of 10 frames with all."""
    source, out = kept_shards("avs"), tmp_path_factory.mktemp("avss") / "out"
    info, rows = read_dataset(source), list(read_manifest(source))
    reader = ClipReader(source)
    contents = [reader.read(place) for place in clip_places(rows)][:2]
    reader.close()
    (out / SHARD_FOLDER).mkdir(parents=True)
    samples = []
    for row, members, repeats, masks in zip(rows, contents, (1, 2), (range(1), range(10)), strict=False):
        samples.append(
            Sample(
                key=f"clip-{repeats}",
                members=semantic(members, repeats=repeats, masks=masks),
                fields={"frames": 5, "windows": 5} if repeats == 1 else {},
                source=row.source,
                seconds=5.0 * repeats,
                fps=row.fps,
                has_audio=row.has_audio,
                decoder=row.decoder,
            )
        )
    tables = {
        "manifest.parquet": write_manifest(
            str(out), write_shard(str(out / SHARD_FOLDER), "train", 0, samples)
        ),
        "quarantine.parquet": write_quarantine(str(out), []),
    }
    sampling = info.features["sampling"] | {"frames": 10, "windows": 10}
    described = replace(
        info,
        name="avss",
        task="avss",
        classes=CLASSES,
        features=info.features | {"sampling": sampling},
        counts={"train": {"written": 2, "quarantined": 0}},
        files=tables,
    )
    write_dataset(str(out), described)
    return out


def test_the_shorter_clip_is_padded_in_frames_sound_and_targets(dataset, two_lengths):
    clips = dataset(two_lengths)
    batch = Collate(clips.task).collate([clips[item(index)] for index in range(2)])
    assert batch.keys == ("clip-1", "clip-2")
    assert batch.inputs["frame_mask"].tolist() == [[True] * 5 + [False] * 5, [True] * 10]
    assert batch.targets["frames"].tolist() == batch.inputs["frame_mask"].tolist()
    assert batch.targets["annotated"].tolist() == [[True] + [False] * 9, [True] * 10]
    short, long = batch.inputs["video"]
    assert torch.equal(short[:5], decode_frames(clips.members(0)))
    assert torch.equal(long, decode_frames(clips.members(1)))
    assert not short[5:].any()
    audio = batch.inputs["audio"]
    assert not audio[0, 5:].any()
    assert audio[0, :5].any((1, 2)).all()
    assert torch.equal(audio[1, :5], audio[1, 5:])
    for number in range(10):
        assert np.array_equal(batch.targets["labels"][1, number].numpy(), class_mask(number)[0])
    assert np.array_equal(batch.targets["labels"][0, 0].numpy(), class_mask(0)[0])
    assert not batch.targets["labels"][0, 1:].any()
