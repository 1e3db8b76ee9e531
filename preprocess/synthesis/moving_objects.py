"""Scenes of objects that move side by side, and masks of some of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..collections.avsbench import SECONDS
from .objects import OBJECTS, scenery

# The masks' size, and a frame at every sixteenth of a second: the masks fit their frames exactly.
PIXELS = 224
FPS = 16
MASK_FRAME = 15  # of every second


@dataclass(frozen=True)
class Track:
    """The motion of an object.

    Attributes:
        start: x and y at second 0, in pixels.
        velocity: pixels a second.
        radius: in pixels.
    """

    start: npt.NDArray[np.float64]
    velocity: npt.NDArray[np.float64]
    radius: float

    def draw(self, picture: Any, index: int, frame: int) -> None:
        """Draw object `index` of `OBJECTS` into a Pillow image, as it is in `frame`."""
        from PIL import ImageDraw

        x, y = self.start + self.velocity * (frame / FPS)
        OBJECTS[index].paint(ImageDraw.Draw(picture), x, y, self.radius, OBJECTS[index].colour)


def draw_tracks(
    count: int, rng: np.random.Generator, *, seconds: int = SECONDS, radii: tuple[float, float] | None = None
) -> list[Track]:
    """Return the tracks of `count` objects from left to right in a clip of `seconds`; they never overlap.

    `radii` is the range of their radii in pixels, by default one that fits `count`.
    """
    low, high = radii or ((28, 34) if count > 2 else (32, 42))
    width = PIXELS / count
    tracks = []
    for place in range(count):
        radius = rng.uniform(low, high)
        room = np.array([width / 2 - 1.15 * radius, PIXELS / 2 - 1.2 * radius])
        centre = np.array([(place + 0.5) * width, PIXELS / 2])
        ends = centre + rng.uniform(-1, 1, size=(2, 2)) * room
        tracks.append(Track(ends[0], (ends[1] - ends[0]) / seconds, float(radius)))
    return tracks


def paint(tracks: Mapping[int, Track], rng: np.random.Generator) -> Iterator[bytes]:
    """Yield the frames of a clip as RGB bytes; `tracks` by index of the object in `OBJECTS`."""
    background = scenery(rng, PIXELS)
    for frame in range(SECONDS * FPS):
        picture = background.copy()
        for index, track in tracks.items():
            track.draw(picture, index, frame)
        yield picture.tobytes()


def mask(tracks: Mapping[int, Track], second: int) -> Any:
    """Return the pixels of the objects in the frame of a second: a Pillow image of one channel, 0 or 255."""
    from PIL import Image

    picture = Image.new("RGB", (PIXELS, PIXELS))  # black, which is no object's colour
    for index, track in tracks.items():
        track.draw(picture, index, second * FPS + MASK_FRAME)
    return Image.fromarray(np.where(np.asarray(picture).any(axis=2), 255, 0).astype(np.uint8))
