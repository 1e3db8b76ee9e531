"""A synthetic collection in the layout of AVSBench-MS3.

In every clip three objects of different classes move, and up to two of them sound at once: together, in turn,
one joining the other, or with a pause in which all masks are empty. Pictures alone do not tell the sounding
objects, sound alone gives their classes but not their positions. The masks are the pixels of the objects that
sound in that second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ..collections.avs_ms3 import ANNOTATIONS
from ..collections.avsbench import SECONDS
from .demo import Demo
from .encoding import encode, new_folder
from .moving_objects import FPS, PIXELS, draw_tracks, mask, paint
from .objects import OBJECTS, SAMPLE_RATE_HZ, Waveform
from .rendering import new_id, render_all, seeded, split_names

VISIBLE = 3
# Bell, frying, horn and clock, whose sounds are told apart when two of them sound at once.
KINDS = (0, 2, 3, 4)

# Objects, 0 and 1, that sound in the first and in the second part of a clip, and the weight of such a clip.
_COURSES: tuple[tuple[tuple[tuple[int, ...], tuple[int, ...]], float], ...] = (
    (((0, 1), (0, 1)), 0.9),
    (((0,), (0,)), 0.02),
    (((0,), (0, 1)), 0.02),
    (((0, 1), (1,)), 0.02),
    (((0,), (1,)), 0.02),
    (((), (0, 1)), 0.01),
    (((0, 1), ()), 0.01),
)
# Range of the largest objects' radii in pixels, and the areas of `OBJECTS` in squared radii.
_RADII = (30.0, 32.0)
_AREAS = (3.14, 3.0, 4.0, 2.2, 2.01, 1.69)
_FADE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Script:
    """Content of one clip.

    Attributes:
        name: an id and a number, as the real ones.
        split: `train`, `val` or `test`.
        visible: indices into `OBJECTS` of the visible objects, from left to right.
        sounding: of every second, those of them that sound.
        seed: for pictures and sound.
    """

    name: str
    split: str
    visible: tuple[int, ...]
    sounding: tuple[tuple[int, ...], ...]
    seed: int


def synthesize(raw: Path, *, clips: int, seed: int, workers: int = 1) -> None:
    """Write a collection of `clips` videos under `raw`: 70 % for training, 10 % val, 20 % test.

    The same seed gives the same masks and the same clips, whatever the number of workers.
    Raises InputError when `raw` has content or `clips` is below 10.
    """
    scripts = write_scripts(clips, seed)
    with new_folder(raw) as folder:
        (folder / "raw_videos").mkdir(parents=True)
        render_all(partial(render, folder=folder), scripts, workers)
        lines = ["video_id,split", *(f"{script.name},{script.split}" for script in scripts)]
        (folder / ANNOTATIONS).write_text("\n".join(lines) + "\n", encoding="utf-8")


SYNTHESIZER = synthesize
DEMO = Demo(preset="avs-ms3-demo", clips=480, compared_with=("av-nofusion",))


def write_scripts(clips: int, seed: int) -> list[Script]:
    """Return the scripts of a collection."""
    splits = split_names(clips)
    rng = seeded(seed)
    ids: set[str] = set()
    weights = [weight for _, weight in _COURSES]
    scripts = []
    for split in splits:
        visible = tuple(rng.choice(KINDS, VISIBLE, replace=False).tolist())
        pair = rng.choice(visible, 2, replace=False).tolist()
        parts = _COURSES[rng.choice(len(_COURSES), p=weights)][0]
        change = int(rng.integers(2, 4))
        sounding = [tuple(pair[one] for one in parts[second >= change]) for second in range(SECONDS)]
        name = f"{new_id(rng, ids)}_1"
        scripts.append(Script(name, split, visible, tuple(sounding), int(rng.integers(2**32))))
    return scripts


def render(script: Script, folder: Path) -> None:
    """Encode the clip of `script` and write its masks into `folder`."""
    rng = np.random.default_rng(script.seed)
    drawn = zip(script.visible, draw_tracks(len(script.visible), rng, radii=_RADII), strict=True)
    tracks = {index: replace(track, radius=track.radius * _scale(index)) for index, track in drawn}
    video = folder / "raw_videos" / f"{script.name}.mp4"
    encode(video, paint(tracks, rng), _sound(script, rng), pixels=PIXELS, fps=FPS)
    masks = folder / "gt_masks" / script.split / script.name
    masks.mkdir(parents=True)
    for second, sounding in enumerate(script.sounding):
        shown = {index: tracks[index] for index in sounding}
        mask(shown, second).save(masks / f"{script.name}_{second + 1}.png")


def _scale(index: int) -> float:
    """Return the factor of an object's radius that gives all objects of `KINDS` the same area.

    Were one larger than the others, marking it alone would score more.
    """
    return min(1.0, math.sqrt(min(_AREAS[kind] for kind in KINDS) / _AREAS[index]))


def _sound(script: Script, rng: np.random.Generator) -> Waveform:
    """Return the clip's mono waveform at 44.1 kHz: the objects' sounds over a faint hiss."""
    times = np.arange(SECONDS * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    waveform = 0.003 * rng.standard_normal(len(times))
    # Fades over the boundaries of the seconds, so that no click tells where a sound begins or ends.
    bounds = np.arange(1, SECONDS)
    fades = np.stack([bounds - _FADE_SECONDS / 2, bounds + _FADE_SECONDS / 2], axis=1).ravel()
    for index in script.visible:
        heard = np.array([float(index in sounding) for sounding in script.sounding])
        level = np.interp(times, fades, np.stack([heard[:-1], heard[1:]], axis=1).ravel())
        waveform += level * rng.uniform(0.2, 0.3) * OBJECTS[index].sound(times, rng)
    return waveform.astype(np.float32)
