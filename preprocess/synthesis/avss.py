"""A synthetic collection in the layout of AVSBench-semantic.

In every clip three objects of different classes move. One or two of them, mostly two, make their sound; in
`v1s` always one. Pictures alone do not tell the sounding objects, sound alone gives their classes but not
their positions. Masks have the colours of the sounding objects' classes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...figures import palette_colour
from ..collections.avss import ANNOTATIONS, CLASS_FILE, FRAMES
from ..collections.avss_classes import BACKGROUND
from .demo import Demo
from .encoding import new_folder, write_wave
from .moving_objects import FPS, PIXELS, Track, draw_tracks
from .objects import OBJECTS, SAMPLE_RATE_HZ, Waveform, scenery
from .rendering import new_id, render_all, seeded, split_names

# Real classes, one for each of `OBJECTS`, in alphabetical order as all of them.
CLASSES = ("bell", "violin", "frying-food", "train", "clock", "helicopter")
NAMES = (BACKGROUND, *sorted(CLASSES))
# The subsets of successive clips. Most clips are of 10 s: shorter ones, which are padded, cost as much time.
_SUBSETS = ("v2", "v1s", *("v2",) * 6, "v1m", "v2")
VISIBLE = 3
_RADII = (30.0, 32.0)  # of the objects, in pixels
_TWO_SOUND = 0.8  # probability, but in `v1s`


@dataclass(frozen=True, slots=True)
class Script:
    """Content of one clip.

    Attributes:
        uid: the folder's name, as a real one.
        split: `train`, `val` or `test`.
        subset: `v1s`, `v1m` or `v2`.
        visible: indices into `OBJECTS` of the visible objects, from left to right.
        sounding: the audible ones of them.
        start_seconds: of the clip in its video.
        seed: for pictures and sound.
    """

    uid: str
    split: str
    subset: str
    visible: tuple[int, ...]
    sounding: tuple[int, ...]
    start_seconds: int
    seed: int

    @property
    def seconds(self) -> int:
        """Length of the clip, which has a frame for each second."""
        return FRAMES[self.subset]

    @property
    def masks(self) -> int:
        """Number of masks as published."""
        return 1 if (self.subset, self.split) == ("v1s", "train") else self.seconds

    @property
    def row(self) -> str:
        """The clip's row of `metadata.csv`."""
        video = self.uid.rsplit("_", 1 if self.subset == "v1m" else 2)[0]
        minute, second = divmod(self.start_seconds, 60)
        objects = "_".join(CLASSES[index] for index in self.sounding)
        return f"{video},{self.uid},{minute},{second},{objects},{self.split},{self.subset}"


def synthesize(raw: Path, *, clips: int, seed: int, workers: int = 1) -> None:
    """Write a collection of `clips` clips under `raw`: 70 % for training, 10 % val, 20 % test.

    The same seed gives the same files, whatever the number of workers. Raises InputError when `raw` has
    content or `clips` is below 10.
    """
    scripts = write_scripts(clips, seed)
    with new_folder(raw) as folder:
        render_all(partial(render, folder=folder), scripts, workers)
        lines = ["vid,uid,s_min,s_sec,a_obj,split,label", *(script.row for script in scripts)]
        (folder / ANNOTATIONS).write_text("\n".join(lines), encoding="utf-8")
        numbers = {name: number for number, name in enumerate(NAMES, start=1)}
        (folder / CLASS_FILE).write_text(json.dumps(numbers), encoding="utf-8")


SYNTHESIZER = synthesize
DEMO = Demo(preset="avss-demo", clips=300, compared_with=("av-nofusion",))


def write_scripts(clips: int, seed: int) -> list[Script]:
    """Return the scripts of a collection."""
    splits = split_names(clips)
    rng = seeded(seed)
    ids: set[str] = set()
    scripts = []
    for number, split in enumerate(splits):
        subset = _SUBSETS[number % len(_SUBSETS)]
        visible = rng.permutation(len(OBJECTS))[:VISIBLE]
        count = 2 if rng.random() < _TWO_SOUND and subset != "v1s" else 1
        sounding = rng.permutation(visible)[:count]
        video, start = new_id(rng, ids), int(rng.integers(0, 120))
        span = f"{1000 * start}_{1000 * (start + FRAMES[subset])}"
        uid = f"{video}_{rng.integers(1, 9)}" if subset == "v1m" else f"{video}_{span}"
        scripts.append(
            Script(
                uid=uid,
                split=split,
                subset=subset,
                visible=tuple(map(int, visible)),
                sounding=tuple(map(int, sounding)),
                start_seconds=0 if subset == "v1m" else start,
                seed=int(rng.integers(2**32)),
            )
        )
    return scripts


def render(script: Script, folder: Path) -> None:
    """Write frames, masks and sound of the clip of `script` into `folder`."""
    rng = np.random.default_rng(script.seed)
    clip = folder / script.subset / script.uid
    for name in ("frames", "labels_rgb"):
        (clip / name).mkdir(parents=True)
    drawn = draw_tracks(VISIBLE, rng, seconds=script.seconds, radii=_RADII)
    tracks = dict(zip(script.visible, drawn, strict=True))
    background = scenery(rng, PIXELS)
    for second in range(script.seconds):
        picture = background.copy()
        for index, track in tracks.items():
            track.draw(picture, index, second * FPS)
        picture.save(clip / "frames" / f"{second}.jpg", quality=92)
        if second < script.masks:
            _mask(script, tracks, second).save(clip / "labels_rgb" / f"{second}.png")
    write_wave(clip / "audio.wav", _sound(script, rng))


def _mask(script: Script, tracks: Mapping[int, Track], second: int) -> Any:
    """Return the classes of the sounding objects' pixels in the colours of AVSS: a Pillow image."""
    from PIL import Image

    mask = np.zeros((PIXELS, PIXELS, 3), dtype=np.uint8)
    for index in script.sounding:
        picture = Image.new("RGB", (PIXELS, PIXELS))  # black, which is no object's colour
        tracks[index].draw(picture, index, second * FPS)
        mask[np.asarray(picture).any(axis=2)] = palette_colour(NAMES.index(CLASSES[index]))
    return Image.fromarray(mask)


def _sound(script: Script, rng: np.random.Generator) -> Waveform:
    """Return the clip's mono waveform at 44.1 kHz: the objects' sounds over a faint hiss."""
    times = np.arange(script.seconds * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    waveform = 0.003 * rng.standard_normal(len(times))
    for index in script.sounding:
        waveform += rng.uniform(0.25, 0.4) * OBJECTS[index].sound(times, rng)
    return waveform.astype(np.float32)
