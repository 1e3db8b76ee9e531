"""Small shard directories that are made in milliseconds: all is right but that pictures are noise."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from stgcma.shards.manifest import write_dataset, write_manifest, write_quarantine
from stgcma.shards.schema import AudioStatistics, DatasetInfo, QuarantineRecord, Sample
from stgcma.shards.writer import write_shard

FRAMES, WINDOWS, BINS = 3, 2, 4
CLASSES = ("Bell", "Flute, Shofar", "Background")
FEATURES = {
    "sampling": {"frames": FRAMES, "windows": WINDOWS},
    "fbanks": {"clip": {"mel_bins": BINS, "target_frames": 6}},
}


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def picture(rng, kind, side=16):
    """A picture of noise: an RGB JPEG, or a PNG of black and white."""
    buffer = io.BytesIO()
    pixels = rng.integers(0, 256, (side, side, 3), np.uint8)
    if kind == "PNG":
        pixels = np.where(pixels[..., 0] > 127, 255, 0).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def question(answer, **fields):
    """A record of `qa.json`."""
    asked = {
        "question_id": 1,
        "type": ["Visual", "Counting"],
        "template": "How many",
        "words": ["How", "many"],
    }
    return asked | {"answer": answer} | fields


def make_sample(key, *, task="ave", split="train", seed=0, **replaced):
    """A sample of `task`; `replaced` members by suffix with `_` for `.`, None to leave one out."""
    rng = np.random.default_rng([seed, *key.encode()])
    members = {f"frame_{number:02d}.jpg": picture(rng, "JPEG") for number in range(FRAMES)}
    members[f"fbank_{BINS}.npy"] = npy(rng.standard_normal((WINDOWS, 5, BINS)).astype(np.float16))
    if task == "ave":
        members["label.npy"] = npy(np.array([0, 1, 2], np.int16))
    elif task == "avqa":
        members["qa.json"] = json.dumps([question("two"), question("yes")]).encode()
    elif task == "avvp":
        events = np.zeros((2, FRAMES, len(CLASSES)), np.uint8)
        events[0, 1:, 0] = events[1, :2, 1] = 1
        members["tags.npy"] = npy(events.any((0, 1)).astype(np.uint8))
        if split != "train":
            members["events.npy"] = npy(events)
    else:
        masks = 1 if split == "train" else FRAMES
        members |= {f"mask_{number:02d}.png": picture(rng, "PNG") for number in range(masks)}
    for name, content in replaced.items():
        suffix = ".".join(name.rsplit("_", 1))
        members.pop(suffix, None)
        if content is not None:
            members[suffix] = content
    return Sample(
        key=key,
        members=members,
        fields={"category": "Bell"},
        source=f"AVE/{key[:6]}.mp4",
        seconds=10.0,
        fps=29.97,
        has_audio=True,
        decoder="pyav",
        warnings=("a warning",),
    )


@pytest.fixture
def directory(tmp_path):
    """`directory(shards, …)` writes a finished one; `shards` maps (split, index) to samples."""

    def write(shards=None, *, task="ave", name="out", quarantine=None, collection="small"):
        folder = tmp_path / name
        (folder / "shards").mkdir(parents=True)
        if shards is None:
            shards = {
                ("train", 0): [make_sample(f"train-{number}", task=task) for number in range(3)],
                ("train", 1): [make_sample("train-3", task=task)],
                ("val", 0): [make_sample("val_0", task=task, split="val")],
                ("test", 0): [make_sample(f"test-{number}", task=task, split="test") for number in range(2)],
            }
        if quarantine is None:
            quarantine = [
                QuarantineRecord("gone", "AVE/gone.mp4", "missing", "not there"),
                QuarantineRecord("train-3", "AVE/x.mp4", "duplicate-key", "train-3 is planned twice"),
            ]
        records = []
        for (split, index), samples in shards.items():
            records += write_shard(folder / "shards", split, index, samples)
        files = {
            "manifest.parquet": write_manifest(folder, records),
            "quarantine.parquet": write_quarantine(folder, quarantine),
        }
        written = {
            split: sum(record.split == split for record in records) for split in ("train", "val", "test")
        }
        counts = {split: {"written": count, "quarantined": 0} for split, count in written.items()}
        counts["test"]["quarantined"] = len(quarantine)
        info = DatasetInfo(
            name=collection,
            task=task,
            features=FEATURES,
            classes=CLASSES,
            counts=counts,
            audio={f"fbank_{BINS}": AudioStatistics(-4.5, 3.25)},
            versions={"pyav": "18.1.0"},
            plan_sha256="0" * 64,
            vocabulary={"words": ["<pad>", "How", "many"], "answers": ["two", "yes"]}
            if task == "avqa"
            else {},
            files=files,
        )
        write_dataset(folder, info)
        return folder

    return write
