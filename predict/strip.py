"""What is seen and heard, side by side: frames over their spectrogram, in rows, with a time axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ..figures import spectrogram
from ..shards.members import decode_picture
from .digits import clock
from .drawing import RULE, SOFT, text

# Time steps of a column's spectrogram: enough for how wide it is drawn.
_SLICES = 24
AXIS_HEIGHT, SPECTROGRAM_HEIGHT = 24, 64


@dataclass
class Column:
    """What is drawn from `start` to `end` (seconds): a frame, and log-mel energies `[slices, bins]`."""

    start: float
    end: float
    frame: Any
    energies: npt.NDArray[np.float32]
    heard: npt.NDArray[np.float32]

    def sound(self) -> npt.NDArray[np.float32]:
        """The energies; a slice that nothing was heard for has those of its neighbour."""
        nearest = np.maximum.accumulate(np.where(self.heard > 0, np.arange(_SLICES), 0))
        means = self.energies / np.maximum(self.heard, 1)[:, None]
        return means[nearest].astype(np.float32)


class Strip:
    """Columns of equal time, at most `most`: of a long video, each is of several steps, and shows the first.

    `steps` says how many are to come, `size` how large a frame is drawn.
    """

    def __init__(self, steps: int, *, most: int, size: tuple[int, int]) -> None:
        self.stride = math.ceil(steps / most)
        self.size = size
        self.columns: list[Column] = []

    def shows(self, step: int) -> bool:
        """Whether the frame of this step is shown."""
        return step % self.stride == 0

    def add(self, step: int, span: tuple[float, float], frame: Any, features: npt.NDArray[Any]) -> None:
        """Takes the next step: its Pillow image, which need not be given when it is not shown, and sound."""
        if self.shows(step):
            nothing = np.zeros((_SLICES, features.shape[-1]), dtype=np.float32)
            heard = np.zeros(_SLICES, dtype=np.float32)
            self.columns.append(Column(*span, frame.resize(self.size), nothing, heard))
        column = self.columns[-1]
        column.end = span[1]
        first = step % self.stride * _SLICES // self.stride
        parts = max(_SLICES // self.stride, 1)
        edges = np.linspace(0, len(features), parts + 1)
        for slice_, (start, end) in enumerate(pairwise(edges)):
            part = features[int(start) : max(math.ceil(end), int(start) + 1)].astype(np.float32)
            column.energies[first + slice_] += part.mean(0)
            column.heard[first + slice_] += 1

    def rows(self, length: int) -> Iterator[tuple[list[Column], Any]]:
        """The columns in rows of `length`, each with its spectrogram; all of these are equally bright."""
        sounds = np.stack([column.sound() for column in self.columns])
        whole = spectrogram(sounds.astype(np.float16))
        each = whole.width // len(self.columns)
        for start in range(0, len(self.columns), length):
            row = self.columns[start : start + length]
            box = (start * each, 0, (start + len(row)) * each, whole.height)
            yield row, whole.crop(box).resize((self.size[0] * len(row), SPECTROGRAM_HEIGHT))


def row_height(size: tuple[int, int]) -> int:
    """How high `draw_row` draws, in pixels."""
    return AXIS_HEIGHT + size[1] + SPECTROGRAM_HEIGHT


def draw_row(
    page: Any, draw: Any, place: tuple[int, int], row: Sequence[Column], sound: Any, *, every: int
) -> int:
    """Draws a row with its left top at `place`, a time over every so many columns. Returns its end below."""
    x, y = place
    width, height = row[0].frame.size
    below: int = y + AXIS_HEIGHT + height + SPECTROGRAM_HEIGHT
    for index, column in enumerate(row):
        left = x + index * width
        if index % every == 0:
            draw.line((left, y + 6, left, y + AXIS_HEIGHT), fill=RULE, width=1)
            text(draw, (left + 4, y + 4), clock(column.start), 13, SOFT)
        page.paste(column.frame, (left, y + AXIS_HEIGHT))
    page.paste(sound, (x, y + AXIS_HEIGHT + height))
    for index in range(1, len(row)):
        left = x + index * width
        draw.line((left, y + AXIS_HEIGHT, left, y + AXIS_HEIGHT + height), fill=(255, 255, 255), width=1)
    return below


def open_frame(members: dict[str, bytes], step: int) -> Any:
    """A frame of a sample as a Pillow image."""
    name = f"frame_{step:02d}.jpg"
    return decode_picture(members[name], name).convert("RGB")


def frame_size(width: int, height: int, *, wide: int) -> tuple[int, int]:
    """How large to draw frames of a video, `wide` pixels wide unless that makes them very flat or high."""
    return wide, round(wide * min(max(height / width, 0.4), 1.8))
