"""A timeline of AVVP: frames, spectrogram, and below them a row of audible and one of visible classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..figures import (
    FrameStrip,
    class_colour,
    draw_chip,
    draw_heading,
    draw_row,
    draw_text,
    new_canvas,
    row_height,
    shorten_text,
    to_png,
)
from ..figures.drawing import HEADING_HEIGHT, INK, MARGIN, SOFT
from .avvp_result import MODALITIES, ParsedSecond

_COLUMNS, _ROWS = 20, 12
_CELL = 76
_TITLE, _LANE, _GAP = 22, 28, 26


@dataclass(frozen=True)
class Bar:
    """A class in successive seconds `[first, last)` of a row of the picture."""

    name: str
    first: int
    last: int


def parsing_strip(seconds: int) -> FrameStrip:
    """Return an empty strip for the frames and the sound of a video of so many seconds."""
    return FrameStrip(seconds, most=_COLUMNS * _ROWS, size=(_CELL, _CELL))


def lanes_of(seconds: Sequence[ParsedSecond], modality: str) -> list[list[Bar]]:
    """Return the classes of a modality as lanes, one for each class, in the order of first appearance."""
    lanes: dict[str, list[Bar]] = {}
    for index, second in enumerate(seconds):
        for name, _ in second.of(modality):
            lane = lanes.setdefault(name, [])
            if lane and lane[-1].last == index:
                lane[-1] = Bar(name, lane[-1].first, index + 1)
            else:
                lane.append(Bar(name, index, index + 1))
    return list(lanes.values())


def draw_parsing(
    strip: FrameStrip, seconds: Sequence[ParsedSecond], classes: Sequence[str], *, title: str, caption: str
) -> bytes:
    """Draw the timeline as PNG: rows of frames and spectrogram, audible classes, visible classes."""
    columns = min(len(strip.columns), _COLUMNS)
    width = 2 * MARGIN + _CELL * max(columns, 10)
    rows = list(strip.rows(_COLUMNS))
    lanes = [list(_row_lanes(row, seconds, strip.stride)) for row, _ in rows]
    heights = [row_height(strip.size) + sum(map(_height, one)) + _GAP for one in lanes]
    canvas, draw = new_canvas(width, HEADING_HEIGHT + sum(heights) + MARGIN)
    if strip.stride > 1:
        caption += f" · a frame every {strip.stride} s"
    y = draw_heading(draw, title, caption, width)
    for (row, sound), modalities, height in zip(rows, lanes, heights, strict=True):
        below = draw_row(canvas, draw, (MARGIN, y), row, sound, tick_every=5 if columns > 10 else 1)
        for modality, bars in zip(MODALITIES, modalities, strict=True):
            _draw_lanes(draw, below, modality, bars, classes, _CELL / strip.stride)
            below += _height(bars)
        y += height
    return to_png(canvas)


def _row_lanes(row: Sequence[Any], seconds: Sequence[ParsedSecond], stride: int) -> Iterator[list[list[Bar]]]:
    """Yield the lanes of each modality in the seconds of a row of the strip."""
    first = int(row[0].start)
    for modality in MODALITIES:
        yield lanes_of(seconds[first : first + stride * len(row)], modality)


def _height(lanes: Sequence[Sequence[Bar]]) -> int:
    return _TITLE + _LANE * max(len(lanes), 1)


def _draw_lanes(
    draw: Any, y: int, modality: str, lanes: Sequence[Sequence[Bar]], classes: Sequence[str], cell: float
) -> None:
    draw_text(draw, (MARGIN, y + 6), modality, 13, SOFT)
    if not lanes:
        draw_text(draw, (MARGIN, y + _TITLE + 4), "no event", 13, SOFT)
    for number, lane in enumerate(lanes):
        top = y + _TITLE + _LANE * number
        for bar in lane:
            left, right = MARGIN + cell * bar.first, MARGIN + cell * bar.last - 1
            # No class is a background, whose colour the last one would have.
            colour = class_colour(classes.index(bar.name), len(classes) + 1)
            draw_chip(draw, (left, top, right, top + _LANE - 4), colour)
            label = shorten_text(bar.name, 14, right - left - 10)
            middle = ((left + right) / 2, top + (_LANE - 4) / 2)
            draw_text(draw, middle, label, 14, INK, anchor="mm")
