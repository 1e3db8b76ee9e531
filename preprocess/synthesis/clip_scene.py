"""Clips in which some objects are visible and some sounds are heard throughout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .encoding import encode
from .objects import OBJECTS, SAMPLE_RATE_HZ, Waveform, scenery

PIXELS = 224
FPS = 5


@dataclass(frozen=True)
class ClipScene:
    """Content of one clip.

    Attributes:
        file: its path below the folder of the collection.
        seen, heard: indices of `OBJECTS` that are visible, and whose sounds are heard.
        seconds: its length.
        seed: for pictures and sound.
    """

    file: str
    seen: tuple[int, ...]
    heard: tuple[int, ...]
    seconds: int
    seed: int


def render(scene: ClipScene, folder: Path) -> None:
    """Encode the clip of `scene` as `folder/FILE`."""
    rng = np.random.default_rng(scene.seed)
    encode(folder / scene.file, _paint(scene, rng), _sound(scene, rng), pixels=PIXELS, fps=FPS)


def _paint(scene: ClipScene, rng: np.random.Generator) -> Iterator[bytes]:
    """Yield the clip's frames as RGB bytes. Each object moves along a line in its part of the picture."""
    from PIL import ImageDraw

    background = scenery(rng, PIXELS)
    parts = rng.permutation(len(scene.seen))
    tracks = [_track(int(part), len(parts), rng) for part in parts]
    for number in range(scene.seconds * FPS):
        picture = background.copy()
        for index, (start, end, radius) in zip(scene.seen, tracks, strict=True):
            x, y = start + (end - start) * (number / (scene.seconds * FPS))
            OBJECTS[index].paint(ImageDraw.Draw(picture), x, y, radius, OBJECTS[index].colour)
        yield picture.tobytes()


def _track(part: int, parts: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """Return start and end (x, y) in pixels, and a radius, within one of `parts` upright stripes."""
    radius = float(rng.uniform(0.75, 1.0)) * min(0.24, 0.42 / parts) * PIXELS
    stripe = PIXELS / parts
    left, right = part * stripe + radius, (part + 1) * stripe - radius
    ends = [
        np.array([rng.uniform(left, max(left, right)), rng.uniform(1.2 * radius, PIXELS - 1.2 * radius)])
        for _ in range(2)
    ]
    return ends[0], ends[1], radius


def _sound(scene: ClipScene, rng: np.random.Generator) -> Waveform:
    """Return the clip's mono waveform at 44.1 kHz: its sounds over a faint hiss."""
    times = np.arange(scene.seconds * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    waveform = 0.003 * rng.standard_normal(len(times))
    for index in scene.heard:
        waveform += rng.uniform(0.25, 0.4) * OBJECTS[index].sound(times, rng)
    return waveform.astype(np.float32)


def balanced(count: int, choices: int, rng: np.random.Generator) -> Sequence[int]:
    """Return `count` integers below `choices`, each as often as any other, in random order."""
    drawn: list[int] = rng.permutation(np.resize(np.arange(choices), count)).tolist()
    return drawn
