"""A synthetic collection in the layout of AVSBench-S4.

In every clip two or three objects of different classes move, and one of them, drawn evenly, makes its sound.
Pictures alone do not tell the sounding object, sound alone gives its class but not its position. The masks
are the sounding object's pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..collections.avs_s4 import ANNOTATIONS, MASKS
from ..collections.avsbench import SECONDS
from .demo import Demo
from .encoding import encode, new_folder
from .moving_objects import FPS, PIXELS, draw_tracks, mask, paint
from .objects import OBJECTS, SAMPLE_RATE_HZ, Waveform
from .rendering import new_id, render_all, seeded, split_names

# Real categories, one for each of `OBJECTS`.
CATEGORIES = (
    "playing_glockenspiel",
    "playing_violin",
    "chainsawing_trees",
    "ambulance_siren",
    "typing_on_computer_keyboard",
    "helicopter",
)


@dataclass(frozen=True, slots=True)
class Script:
    """Content of one clip.

    Attributes:
        name: an id and a number, as the real ones.
        split: `train`, `val` or `test`.
        visible: indices into `OBJECTS` of the visible objects, from left to right.
        sounding: the audible one of them.
        seed: for pictures and sound.
    """

    name: str
    split: str
    visible: tuple[int, ...]
    sounding: int
    seed: int

    @property
    def category(self) -> str:
        """The sounding object's category."""
        return CATEGORIES[self.sounding]

    @property
    def place(self) -> str:
        """The clip's path in each of the collection's folders, without suffix."""
        return f"{self.split}/{self.category}/{self.name}"


def synthesize(raw: Path, *, clips: int, seed: int, workers: int = 1) -> None:
    """Write a collection of `clips` videos under `raw`: 70 % for training, 10 % val, 20 % test.

    The same seed gives the same masks and the same clips, whatever the number of workers.
    Raises InputError when `raw` has content or `clips` is below 10.
    """
    scripts = write_scripts(clips, seed)
    with new_folder(raw) as folder:
        for script in scripts:
            (folder / "raw_videos" / script.place).parent.mkdir(parents=True, exist_ok=True)
        render_all(partial(render, folder=folder), scripts, workers)
        lines = ["name,start,category,split"]
        lines += [f"{script.name},0,{script.category},{script.split}" for script in scripts]
        (folder / ANNOTATIONS).write_text("\n".join(lines) + "\n", encoding="utf-8")


SYNTHESIZER = synthesize
# Only the first frame of a training clip has a mask, so more clips are needed than for other tasks.
DEMO = Demo(preset="avs-demo", clips=480, compared_with=("av-nofusion",))


def write_scripts(clips: int, seed: int) -> list[Script]:
    """Return the scripts of a collection. Sounding classes are balanced, then shuffled."""
    splits = split_names(clips)
    rng = seeded(seed)
    ids: set[str] = set()
    sounding = rng.permutation(np.resize(np.arange(len(OBJECTS)), clips))
    scripts = []
    for split, heard in zip(splits, sounding, strict=True):
        others = [index for index in range(len(OBJECTS)) if index != heard]
        silent = rng.choice(others, rng.integers(1, 3), replace=False)
        visible = tuple(map(int, rng.permutation([heard, *silent])))
        name = f"{new_id(rng, ids)}_1"
        scripts.append(Script(name, split, visible, int(heard), int(rng.integers(2**32))))
    return scripts


def render(script: Script, folder: Path) -> None:
    """Encode the clip of `script` and write the masks of its split into `folder`."""
    rng = np.random.default_rng(script.seed)
    tracks = dict(zip(script.visible, draw_tracks(len(script.visible), rng), strict=True))
    video = folder / "raw_videos" / f"{script.place}.mp4"
    encode(video, paint(tracks, rng), _sound(script, rng), pixels=PIXELS, fps=FPS)
    masks = folder / "gt_masks" / script.place
    masks.mkdir(parents=True)
    sounding = {script.sounding: tracks[script.sounding]}
    for second in range(MASKS[script.split]):
        mask(sounding, second).save(masks / f"{script.name}_{second + 1}.png")


def _sound(script: Script, rng: np.random.Generator) -> Waveform:
    """Return the clip's mono waveform at 44.1 kHz: the object's sound over a faint hiss."""
    times = np.arange(SECONDS * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    waveform = 0.003 * rng.standard_normal(len(times))
    waveform += rng.uniform(0.25, 0.4) * OBJECTS[script.sounding].sound(times, rng)
    return waveform.astype(np.float32)
