"""What a loader takes to start, and in memory, with a hundred times the clips; each a process of its own.

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
from figures import Figure, in_turns, measured_apart, resident_bytes
from PIL import Image
from synthetic import CLIPS_A_SHARD, write_directory

FEW, MANY = 1_000, 100_000
BATCHES = 5


def figures(scratch: Path, *, quick: bool) -> list[Figure]:
    """Seconds to the first batch, and resident memory after a few, of whole processes."""
    shards = {
        count: write_directory(scratch / f"shards-{count}", count, make=_members, distinct=CLIPS_A_SHARD)
        for count in (FEW, MANY)
    }
    made: dict[int, list[dict[str, float]]] = {FEW: [], MANY: []}

    def measured(count: int) -> float:
        made[count].append(measured_apart(__file__, shards[count]))
        return 0.0

    measured(MANY), measured(FEW)  # from the page cache
    made[FEW].clear(), made[MANY].clear()
    in_turns(2 if quick else 5, lambda: measured(MANY), lambda: measured(FEW))
    few = f"{FEW:,} clips"
    own = [run["own_seconds"] for run in made[MANY]], [run["own_seconds"] for run in made[FEW]]
    note = (
        f"whole processes, to the first batch; without the imports {np.median(own[0]):.2f} s "
        f"against {np.median(own[1]):.2f} s"
    )

    def sides(key: str, scale: float) -> tuple[list[float], list[float]]:
        many, few = ([scale * run[key] for run in made[count]] for count in (MANY, FEW))
        return many, few

    return [
        Figure(f"loader's start at {MANY:,} clips", "s", few, *sides("seconds", 1), 1.2, note=note),
        Figure(
            f"loader's memory at {MANY:,} clips", "MiB", few, *sides("bytes", 2**-20), 1.2,
            note=f"highest resident size after {BATCHES} batches",
        ),
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
    from stgcma.train.config import DataConfig
    from stgcma.train.data import ClipDataset, batches, make_loader, open_task
    from stgcma.train.order import EpochOrder

    imported = time.monotonic()
    dataset = ClipDataset(shards, "train", open_task(shards), DataConfig(), preset_config("ave-demo"), seed=0)
    order = EpochOrder([place.shard for place in dataset.places], 4, seed=0)
    loaded = batches(make_loader(dataset, order, workers=0))
    next(loaded)
    ready = time.monotonic()
    for _ in range(BATCHES - 1):
        next(loaded)
    return {"seconds": ready - began, "own_seconds": ready - imported, "bytes": resident_bytes("VmHWM")}


if __name__ == "__main__":
    print(json.dumps(_load(sys.argv[1], time.monotonic())))
