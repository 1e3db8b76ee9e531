"""The videos and masks of a synthetic AVSBench-S4 in the layout of one's own masks."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from ...shards.members import read_mask
from ..collections.avss_colours import palette_picture
from ..collections.mask_splits import TABLE
from ..collections.masks import ANNOTATIONS, VIDEOS
from . import avs_s4
from .encoding import new_folder
from .moving_objects import FPS, MASK_FRAME
from .rendering import seeded, split_names


def synthesize(raw: Path, *, clips: int, seed: int, workers: int = 1) -> None:
    """Write a folder of `clips` videos, their masks and `videos.csv` under `raw`.

    The same seed gives the same masks and the same clips, whatever the number of workers.
    Raises InputError when `raw` has content or `clips` is below 10.
    """
    # Refuse wrong numbers before a folder is made.
    split_names(clips)
    seeded(seed)
    with new_folder(raw) as folder:
        source = folder / "s4"
        avs_s4.synthesize(source, clips=clips, seed=seed, workers=workers)
        (folder / VIDEOS).mkdir()
        rows = ["video,split,frame_rate"]
        for script in avs_s4.write_scripts(clips, seed):
            video = source / "raw_videos" / f"{script.place}.mp4"
            video.rename(folder / VIDEOS / video.name)
            masks = folder / ANNOTATIONS / script.name
            masks.mkdir(parents=True)
            for mask in sorted((source / "gt_masks" / script.place).iterdir()):
                second = int(mask.stem.rpartition("_")[2]) - 1
                _recode(mask, masks / f"{second * FPS + MASK_FRAME:05d}.png")
            rows.append(f"{script.name},{script.split},{FPS}")
        (folder / TABLE).write_text("\n".join(rows) + "\n", encoding="utf-8")
        shutil.rmtree(source)


def _recode(source: Path, target: Path) -> None:
    """Write a black and white picture with a palette, its white as the value 1."""
    mask = read_mask(source.read_bytes(), source.name)
    palette_picture(mask.astype(np.uint8)).save(target)


SYNTHESIZER = synthesize
DEMO = avs_s4.DEMO
