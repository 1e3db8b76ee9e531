"""A collection of short real clips in AVE's layout."""

import shutil

import numpy as np
from stgcma.preprocess.synthesis.encoding import encode

DIFFERENT = 4


def make_clip(path, seed, *, seconds=1.2, pixels=64, fps=10):
    """An H.264 and AAC file of noise."""
    rng = np.random.default_rng(seed)
    frames = [
        rng.integers(0, 255, (pixels, pixels, 3), np.uint8).tobytes() for _ in range(round(seconds * fps))
    ]
    sound = 0.1 * rng.standard_normal(round(seconds * 44_100))
    encode(path, frames, sound.astype(np.float32), pixels=pixels, fps=fps)


def make_collection(raw, *, clips):
    """`clips` of them, a few different ones over and over; the last of the training clips is cut in half."""
    (raw / "AVE").mkdir(parents=True)
    rows = [f"{('Bell', 'Cat')[number % 2]}&clip_{number}&good&0&1" for number in range(clips)]
    for number in range(clips):
        path = raw / "AVE" / f"clip_{number}.mp4"
        if number < DIFFERENT:
            make_clip(path, number)
        else:
            shutil.copy(raw / "AVE" / f"clip_{number % DIFFERENT}.mp4", path)
    damaged = raw / "AVE" / f"clip_{clips - 1}.mp4"
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    (raw / "Annotations.txt").write_text("\n".join(rows) + "\n")
    for split, part in {"val": rows[:2], "test": rows[2:4], "train": rows[4:]}.items():
        (raw / f"{split}Set.txt").write_text("\n".join(part) + "\n")
