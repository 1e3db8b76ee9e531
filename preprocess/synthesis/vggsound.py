"""A synthetic collection in the layout of VGGSound.

A class is a pair of an object that is visible and a sound that is heard. Two classes show the same object and
differ in sound alone, two have the same sound and differ in sight alone.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..collections.divisions import hash_position
from ..collections.vggsound import ANNOTATIONS, SECONDS, VAL_SHARE
from .clip_scene import ClipScene, balanced, render
from .demo import Demo
from .encoding import new_folder
from .rendering import new_id, render_all, seeded, split_names


@dataclass(frozen=True)
class SeenAndHeard:
    """A class: its name, and the indices of `OBJECTS` for the object and for the sound."""

    name: str
    seen: int
    heard: int


CLASSES = (
    SeenAndHeard("church bell ringing", 0, 0),
    SeenAndHeard("clock ticking", 0, 4),
    SeenAndHeard("frying food", 2, 2),
    SeenAndHeard("raining", 3, 2),
    SeenAndHeard("playing violin, fiddle", 1, 1),
    SeenAndHeard("helicopter", 5, 5),
)


@dataclass(frozen=True)
class Script:
    """A row of the annotation file, and the content of its clip."""

    video: str
    start: int
    category: SeenAndHeard
    split: str
    scene: ClipScene


def synthesize(raw: Path, *, clips: int, seed: int, workers: int = 1) -> None:
    """Write a collection of `clips` videos under `raw`: 70 % for training, 10 % val, 20 % test.

    The annotation file calls the clips for val `train`; the reader of the collection uses their ids as val.
    The same seed gives the same labels and the same clips, whatever the number of workers.
    Raises InputError when `raw` has content or `clips` is below 10.
    """
    scripts = write_scripts(clips, seed)
    with new_folder(raw) as folder:
        (folder / "video").mkdir()
        render_all(partial(render, folder=folder), [script.scene for script in scripts], workers)
        with (folder / ANNOTATIONS).open("w", encoding="utf-8", newline="") as stream:
            rows = csv.writer(stream, lineterminator="\n")
            for script in scripts:
                split = "test" if script.split == "test" else "train"
                rows.writerow((script.video, script.start, script.category.name, split))


SYNTHESIZER = synthesize
DEMO = Demo(preset="avc-demo", clips=180, compared_with=("video", "audio"))


def write_scripts(clips: int, seed: int) -> list[Script]:
    """Return the scripts of a collection. Classes are balanced in every split, then shuffled."""
    splits, rng = split_names(clips), seeded(seed)
    ids: set[str] = set()
    scripts = []
    for split in dict.fromkeys(splits):
        for index in balanced(splits.count(split), len(CLASSES), rng):
            video, start = _new_id(split, rng, ids), int(rng.integers(0, 300))
            category = CLASSES[index]
            scene = ClipScene(
                file=f"video/{video}_{start:06d}.mp4",
                seen=(category.seen,),
                heard=(category.heard,),
                seconds=SECONDS,
                seed=int(rng.integers(2**32)),
            )
            scripts.append(Script(video, start, category, split, scene))
    return scripts


def _new_id(split: str, rng: np.random.Generator, taken: set[str]) -> str:
    """Return an id that the collection's reader puts into `split`."""
    while True:
        video = new_id(rng, taken)
        if split == "test" or (hash_position(video) < VAL_SHARE) == (split == "val"):
            return video
