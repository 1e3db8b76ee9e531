"""Timelines of videos: rows of frames above their spectrogram, and below each a band that the task fills."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..figures import Column, FrameStrip, draw_heading, draw_row, new_canvas, row_height
from ..figures.drawing import HEADING_HEIGHT, MARGIN

CELL = 76
"""Width and height of a frame in pixels."""
_COLUMNS, _ROWS = 20, 12
_LEAST_COLUMNS = 10
_GAP = 26


@dataclass(frozen=True)
class Timeline:
    """A picture with its heading and its rows, and the places that are left to draw in.

    Attributes:
        canvas: a Pillow image.
        draw: its `ImageDraw`.
        above: y of the place between the heading and the rows.
        bands: the columns of each row, and y of the band below it.
        below: y of the place below the rows.
    """

    canvas: Any
    draw: Any
    above: int
    bands: tuple[tuple[Sequence[Column], int], ...]
    below: int


def seconds_strip(seconds: int) -> FrameStrip:
    """Return an empty strip for the frames and the sound of a video of so many seconds."""
    return FrameStrip(seconds, most=_COLUMNS * _ROWS, size=(CELL, CELL))


def timeline_width(strip: FrameStrip) -> int:
    """Return the width of the picture in pixels."""
    return 2 * MARGIN + CELL * max(min(len(strip.columns), _COLUMNS), _LEAST_COLUMNS)


def draw_rows(
    strip: FrameStrip,
    *,
    title: str,
    caption: str,
    band_height: Callable[[Sequence[Column]], int],
    above: int = 0,
    below: int = 0,
) -> Timeline:
    """Draw the heading and the rows of a strip.

    Args:
        strip: of `seconds_strip`, complete.
        title: of the heading.
        caption: of the heading.
        band_height: returns the height in pixels of the band below a row, given its columns.
        above: height in pixels of the place before the rows.
        below: height in pixels of the place after the rows.
    """
    width = timeline_width(strip)
    rows = list(strip.rows(_COLUMNS))
    heights = [row_height(strip.size) + band_height(row) + _GAP for row, _ in rows]
    canvas, draw = new_canvas(width, HEADING_HEIGHT + above + sum(heights) + below + MARGIN)
    if strip.stride > 1:
        caption += f" · a frame every {strip.stride} s"
    top = draw_heading(draw, title, caption, width)
    tick_every = 5 if len(strip.columns) > _LEAST_COLUMNS else 1
    bands = []
    y = top + above
    for (row, sound), height in zip(rows, heights, strict=True):
        bands.append((row, draw_row(canvas, draw, (MARGIN, y), row, sound, tick_every=tick_every)))
        y += height
    return Timeline(canvas, draw, top, tuple(bands), y)
