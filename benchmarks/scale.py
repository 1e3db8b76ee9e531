"""Start time and memory of a loader with a hundred times the clips; each in a process of its own.

Of one shard there are a thousand hard links, so that the manifest is as long as it would be.

python benchmarks/scale.py SHARDS    # loads a few batches of SHARDS and prints what that took
"""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path

import numpy as np
from measurement import Figure, in_turns, measured_apart, of_both, resident_bytes
from PIL import Image
from synthetic import CLIPS_A_SHARD, write_directory

FEW, MANY = 1_000, 100_000
BATCHES = 5


def figures(scratch: Path, *, quick: bool) -> list[Figure]:
    """Seconds to the first batch, and resident memory after a few, of whole processes."""
    shards = {
        count: write_directory(
            scratch / f"shards-{count}", {"train": count}, make=_members, distinct=CLIPS_A_SHARD
        )
        for count in (FEW, MANY)
    }

    def measured(count: int) -> dict[str, float]:
        return measured_apart(__file__, shards[count])

    measured(MANY), measured(FEW)  # from the page cache
    runs = in_turns(1 if quick else 3, lambda: measured(MANY), lambda: measured(FEW))
    few, start, memory = f"{FEW:,} clips", f"start of a loader of {MANY:,} clips", "memory of the same"
    return [
        Figure(
            start, "s", few, *of_both(runs, "seconds"), 1.1,
            note="a whole process, to the first batch; most of it are imports",
        ),
        Figure(f"{start}, without the imports", "s", few, *of_both(runs, "own_seconds")),
        Figure(
            memory, "MiB", few, *of_both(runs, "bytes", 2**-20), 1.2,
            note=f"highest resident size after {BATCHES} batches, libraries included",
        ),
        Figure(f"{memory}, without the libraries", "MiB", few, *of_both(runs, "own_bytes", 2**-20)),
    ]  # fmt: skip


def _members(number: int) -> dict[str, bytes]:
    picture, fbank, labels = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.new("RGB", (224, 224), (number % 256, 90, 160)).save(picture, "JPEG")
    np.save(fbank, np.zeros((10, 102, 128), dtype=np.float16))
    np.save(labels, np.zeros(10, dtype=np.int16))
    frames = {f"frame_{index:02d}.jpg": picture.getvalue() for index in range(10)}
    return frames | {"fbank_128.npy": fbank.getvalue(), "label.npy": labels.getvalue()}


def _load(shards: str, began: float) -> dict[str, float]:
    from stgcma.model import preset_config
    from stgcma.train.batch import batches, make_loader
    from stgcma.train.data import ClipDataset, open_task
    from stgcma.train.order import EpochOrder
    from stgcma.train.sections import DataConfig

    imported, libraries = time.monotonic(), resident_bytes("VmRSS")
    dataset = ClipDataset(shards, "train", open_task(shards), DataConfig(), preset_config("ave-demo"), seed=0)
    order = EpochOrder(dataset.places.shards, 4, seed=0)
    loaded = batches(make_loader(dataset, order, workers=0))
    next(loaded)
    ready = time.monotonic()
    for _ in range(BATCHES - 1):
        next(loaded)
    highest = resident_bytes("VmHWM")
    return {
        "seconds": ready - began,
        "own_seconds": ready - imported,
        "bytes": highest,
        "own_bytes": highest - libraries,
    }


if __name__ == "__main__":
    print(json.dumps(_load(sys.argv[1], time.monotonic())))
