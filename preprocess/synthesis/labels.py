"""Synthetic clips with a table of their labels, several a clip.

A clip has the label of every object that is visible, or heard, or both: one to three of six.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..collections.labels import ANNOTATIONS
from .clip_scene import ClipScene, balanced, render
from .demo import Demo
from .encoding import new_folder
from .objects import OBJECTS
from .rendering import render_all, seeded, split_names

SECONDS = 4
FOLDER = "clips"


@dataclass(frozen=True)
class Script:
    """A row of the table, and the content of its clip."""

    split: str
    scene: ClipScene

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the objects that are visible or heard."""
        return tuple(OBJECTS[index].name for index in sorted({*self.scene.seen, *self.scene.heard}))


def synthesize(raw: Path, *, clips: int, seed: int, workers: int = 1) -> None:
    """Write `clips` videos and `labels.csv` under `raw`: 70 % for training, 10 % val, 20 % test.

    The same seed gives the same labels and the same clips, whatever the number of workers. Raises InputError
    when `raw` has content or `clips` is below 10.
    """
    scripts = write_scripts(clips, seed)
    with new_folder(raw) as folder:
        (folder / FOLDER).mkdir()
        render_all(partial(render, folder=folder), [script.scene for script in scripts], workers)
        with (folder / ANNOTATIONS[0]).open("w", encoding="utf-8", newline="") as stream:
            rows = csv.writer(stream, lineterminator="\n")
            rows.writerow(("file", "labels", "split"))
            for script in scripts:
                rows.writerow((script.scene.file, "|".join(script.labels), script.split))


SYNTHESIZER = synthesize
DEMO = Demo(preset="avc-demo", clips=240, compared_with=("video", "audio"))


def write_scripts(clips: int, seed: int) -> list[Script]:
    """Return the scripts of a collection: one or two objects are visible, one or two are heard."""
    rng = seeded(seed)
    counts = balanced(clips, 4, rng)
    firsts = balanced(clips, len(OBJECTS), rng)
    scripts = []
    for number, (split, count, first) in enumerate(zip(split_names(clips), counts, firsts, strict=True)):
        others = [int(index) for index in rng.permutation(len(OBJECTS)) if index != first]
        # One object alone; one that sounds under another's sound; one beside another; a sound unseen.
        seen, heard = {
            0: ((first,), (first,)),
            1: ((first,), (others[0],)),
            2: ((first, others[0]), (first,)),
            3: ((others[0], others[1]), (first,)),
        }[count]
        scene = ClipScene(f"{FOLDER}/{number:04d}.mp4", seen, heard, SECONDS, int(rng.integers(2**32)))
        scripts.append(Script(split, scene))
    return scripts
