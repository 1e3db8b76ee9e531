"""A shard directory for training, made in place without videos: random pictures and sounds, two classes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from synthetic import CLIPS_A_SHARD, write_directory

# A JPEG of such a picture is about as large as one of a frame of film, 20 to 30 kB.
_COARSE, _GRAIN, _SIDE = 14, 12, 224


def make_shards(out: Path, *, train: int, others: int) -> Path:
    """Writes an AVE directory of `train` clips for training and `others` each for val and test.

    A clip takes 0.06 s to make, so that a split's shards are copies of its first.
    """
    counts = {"train": train, "val": others, "test": others}
    return write_directory(out, counts, make=clip_members, distinct=CLIPS_A_SHARD)


def clip_members(number: int) -> dict[str, bytes]:
    """The members of a clip of ten seconds; of the same number, the same bytes."""
    rng = np.random.default_rng(number)
    members = {f"frame_{index:02d}.jpg": picture(rng) for index in range(10)}
    for bins, frames in ((128, 98), (224, 223)):
        fbank = rng.normal(-5, 4, (10, frames, bins)).astype(np.float16)
        members[f"fbank_{bins}.npy"] = _npy(fbank)
    members["label.npy"] = _npy(rng.integers(0, 2, 10).astype(np.int16))
    return members


def picture(rng: np.random.Generator) -> bytes:
    """A JPEG of smooth colours under grain."""
    coarse = rng.integers(0, 256, (_COARSE, _COARSE, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))
    grainy = smooth + rng.normal(0, _GRAIN, smooth.shape)
    stream = io.BytesIO()
    Image.fromarray(grainy.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()
