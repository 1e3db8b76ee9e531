"""Frames side by side: alone, or above their spectrogram in rows with a time axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..errors import StgcmaError
from .class_palette import palette_bytes
from .drawing import MASK, PAGE, RULE, SOFT, draw_text
from .numbers import clock
from .spectrograms import WINDOW_PIXELS, spectrogram

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Time steps of a column's spectrogram; a column is drawn at most about six times as wide.
_SLICES = 24
AXIS_HEIGHT, SPECTROGRAM_HEIGHT = 24, 64


def join_frames(frames: Sequence[Any], masks: Iterable[npt.NDArray[Any] | None] | None = None) -> Any:
    """Return Pillow images side by side as one, each `WINDOW_PIXELS` wide and high.

    Args:
        frames: the images.
        masks: one for each frame, `[H, W]` of the frame's size. Bool: pixels inside are tinted, those outside
            darkened. Integers: pixels of class 0 are darkened, others tinted in the colour of their class. A
            frame whose mask is None is not changed.

    Raises StgcmaError when a mask and its frame differ in size.
    """
    import numpy as np
    from PIL import Image

    colours = np.frombuffer(palette_bytes(), dtype=np.uint8).reshape(-1, 3).astype(np.float32)
    joined = Image.new("RGB", (WINDOW_PIXELS * len(frames), WINDOW_PIXELS))
    for index, (frame, mask) in enumerate(
        zip(frames, [None] * len(frames) if masks is None else masks, strict=True)
    ):
        pixels = np.asarray(frame.convert("RGB"), dtype=np.float32)
        if mask is not None:
            if mask.shape != pixels.shape[:2]:
                raise StgcmaError(f"mask {index} is {list(mask.shape)}, its frame {list(pixels.shape[:2])}")
            colour = np.array(MASK, dtype=np.float32) if mask.dtype == bool else colours[mask]
            tinted = 0.45 * pixels + 0.55 * colour
            pixels = np.where(mask.astype(bool)[..., None], tinted, 0.55 * pixels)
        image = Image.fromarray(pixels.astype(np.uint8)).resize((WINDOW_PIXELS, WINDOW_PIXELS))
        joined.paste(image, (index * WINDOW_PIXELS, 0))
    return joined


@dataclass
class Column:
    """One column of a `FrameStrip`, from `start` to `end` in seconds.

    Attributes:
        frame: a Pillow image.
        energies: sums of log-mel energies, float32 `[slices, bins]`.
        counts: the number of summands of each slice, float32 `[slices]`.
    """

    start: float
    end: float
    frame: Any
    energies: npt.NDArray[np.float32]
    counts: npt.NDArray[np.float32]

    def sound(self) -> npt.NDArray[np.float32]:
        """Return the mean energies; a slice without any has those of the nearest slice before it."""
        import numpy as np

        nearest = np.maximum.accumulate(np.where(self.counts > 0, np.arange(_SLICES), 0))
        means = self.energies / np.maximum(self.counts, 1)[:, None]
        return means[nearest].astype(np.float32)


@dataclass
class FrameStrip:
    """Frames of a video above its spectrogram, in columns of equal time.

    A video of more than `most` steps has several of them in each column, which shows the first one's frame.

    Attributes:
        steps: the number of steps that will be added.
        most: the largest number of columns.
        size: width and height of a frame in pixels.
    """

    steps: int
    most: int
    size: tuple[int, int]
    columns: list[Column] = field(default_factory=list)

    @property
    def stride(self) -> int:
        """The number of steps in a column."""
        return math.ceil(self.steps / self.most)

    def shows(self, step: int) -> bool:
        """Return True when the frame of this step is drawn."""
        return step % self.stride == 0

    def add(self, step: int, span: tuple[float, float], frame: Any, energies: npt.NDArray[Any]) -> None:
        """Add the next step.

        Args:
            step: its index.
            span: start and end in seconds.
            frame: a Pillow image; ignored unless `shows(step)`.
            energies: log-mel energies `[n, bins]`.
        """
        import numpy as np

        if self.shows(step):
            sums = np.zeros((_SLICES, energies.shape[-1]), dtype=np.float32)
            counts = np.zeros(_SLICES, dtype=np.float32)
            self.columns.append(Column(*span, frame.resize(self.size), sums, counts))
        column = self.columns[-1]
        column.end = span[1]
        first = step % self.stride * _SLICES // self.stride
        parts = max(_SLICES // self.stride, 1)
        edges = np.linspace(0, len(energies), parts + 1)
        for index, (start, end) in enumerate(pairwise(edges), first):
            part = energies[int(start) : max(math.ceil(end), int(start) + 1)].astype(np.float32)
            column.energies[index] += part.mean(0)
            column.counts[index] += 1

    def rows(self, length: int) -> Iterator[tuple[list[Column], Any]]:
        """Yield rows of `length` columns, each with its spectrogram; all share one scale of brightness."""
        import numpy as np

        sounds = np.stack([column.sound() for column in self.columns])
        whole = spectrogram(sounds.astype(np.float16))
        for start in range(0, len(self.columns), length):
            row = self.columns[start : start + length]
            box = (start * WINDOW_PIXELS, 0, (start + len(row)) * WINDOW_PIXELS, whole.height)
            yield row, whole.crop(box).resize((self.size[0] * len(row), SPECTROGRAM_HEIGHT))


def row_height(size: tuple[int, int]) -> int:
    """Return the height in pixels of a row with frames of `size`."""
    return AXIS_HEIGHT + size[1] + SPECTROGRAM_HEIGHT


def draw_row(
    canvas: Any, draw: Any, position: tuple[int, int], row: Sequence[Column], sound: Any, *, tick_every: int
) -> int:
    """Draw a row of a `FrameStrip`. Returns the y below it.

    Args:
        canvas: a Pillow image.
        draw: its `ImageDraw`.
        position: left and top of the row in pixels.
        row: the columns.
        sound: their spectrogram.
        tick_every: columns between two times on the axis.
    """
    x, y = position
    width, height = row[0].frame.size
    top = y + AXIS_HEIGHT
    for index, column in enumerate(row):
        left = x + index * width
        if index % tick_every == 0:
            draw.line((left, y + 6, left, top), fill=RULE, width=1)
            draw_text(draw, (left + 4, y + 4), clock(column.start), 13, SOFT)
        canvas.paste(column.frame, (left, top))
    canvas.paste(sound, (x, top + height))
    for index in range(1, len(row)):
        left = x + index * width
        draw.line((left, top, left, top + height), fill=PAGE, width=1)
    return int(top + height + SPECTROGRAM_HEIGHT)


def frame_size(width: int, height: int, *, column_width: int) -> tuple[int, int]:
    """Return the size of drawn frames of a `width`×`height` video; its shape is limited to 0.4 to 1.8."""
    return column_width, round(column_width * min(max(height / width, 0.4), 1.8))
