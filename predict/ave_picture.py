"""A timeline of AVE: frames, spectrogram, class and confidence by second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..figures import (
    FrameStrip,
    class_colour,
    draw_chip,
    draw_heading,
    draw_row,
    draw_text,
    new_canvas,
    percent,
    row_height,
    shorten_text,
    text_width,
    to_png,
)
from ..figures.drawing import HEADING_HEIGHT, INK, MARGIN, SOFT
from .ave_result import Second

_COLUMNS, _ROWS = 20, 12
_CELL = 76
_BAND, _BARS, _NUMBERS, _GAP = 34, 30, 18, 26
_LEGEND_LINE = 34


def timeline_strip(seconds: int) -> FrameStrip:
    """Return an empty strip for the frames and the sound of a video of so many seconds."""
    return FrameStrip(seconds, most=_COLUMNS * _ROWS, size=(_CELL, _CELL))


def draw_timeline(
    strip: FrameStrip, seconds: Sequence[Second], classes: Sequence[str], *, title: str, caption: str
) -> bytes:
    """Draw the timeline as PNG: rows of frames and spectrogram, classes, confidences, and a legend."""
    columns = min(len(strip.columns), _COLUMNS)
    width = 2 * MARGIN + _CELL * max(columns, 10)
    rows = list(strip.rows(_COLUMNS))
    legend = _legend(seconds, width)
    height = row_height(strip.size) + _BAND + _BARS + _NUMBERS + _GAP
    canvas, draw = new_canvas(
        width, HEADING_HEIGHT + height * len(rows) + _LEGEND_LINE * len(legend) + MARGIN
    )
    if strip.stride > 1:
        caption += f" · a frame every {strip.stride} s"
    y = draw_heading(draw, title, caption, width)
    for row, sound in rows:
        below = draw_row(canvas, draw, (MARGIN, y), row, sound, tick_every=5 if columns > 10 else 1)
        first = int(row[0].start)
        _draw_classes(draw, below, seconds[first : first + strip.stride * len(row)], classes, strip.stride)
        y += height
    for line in legend:
        x = float(MARGIN)
        for name, label, wide in line:
            colour = class_colour(classes.index(name), len(classes))
            draw_chip(draw, (x, y, x + wide, y + 26), colour)
            draw_text(draw, (x + 12, y + 13), label, 15, INK, anchor="lm")
            x += wide + 10
        y += _LEGEND_LINE
    return to_png(canvas)


def _legend(seconds: Sequence[Second], width: int) -> list[list[tuple[str, str, float]]]:
    """Return the classes by descending length, in lines: name, label and width in pixels."""
    lines: list[list[tuple[str, str, float]]] = [[]]
    free = width - 2.0 * MARGIN
    for name, count in Counter(second.name for second in seconds).most_common():
        label = shorten_text(f"{name}  {count} s", 15, width - 2 * MARGIN - 24)
        wide = text_width(label, 15) + 24
        if wide > free and lines[-1]:
            lines.append([])
            free = width - 2.0 * MARGIN
        lines[-1].append((name, label, wide))
        free -= wide + 10
    return lines


def _draw_classes(draw: Any, y: int, seconds: Sequence[Second], classes: Sequence[str], stride: int) -> None:
    """Draw the classes of a row's seconds as named bands, and below them a bar for each confidence."""
    cell = _CELL / stride
    start = 0
    for end in range(1, len(seconds) + 1):
        if end == len(seconds) or seconds[end].name != seconds[start].name:
            box = (MARGIN + cell * start, y + 4, MARGIN + cell * end - 1, y + _BAND)
            _draw_band(draw, box, seconds[start], classes)
            start = end
    bottom = y + _BAND + _BARS
    for index, second in enumerate(seconds):
        left = MARGIN + cell * index
        height = (_BARS - 4) * second.confidence
        colour = class_colour(classes.index(second.name), len(classes), strong=True)
        draw.rectangle((left, bottom - height, left + max(cell - 2, 0), bottom), fill=colour)
        if stride == 1:
            middle = (left + cell / 2, bottom + 10)
            draw_text(draw, middle, percent(second.confidence), 12, SOFT, anchor="mm")


def _draw_band(
    draw: Any, box: tuple[float, float, float, float], second: Second, classes: Sequence[str]
) -> None:
    left, top, right, bottom = box
    draw_chip(draw, box, class_colour(classes.index(second.name), len(classes)))
    label = shorten_text(second.name, 15, right - left - 12)
    if second.background and label != second.name:
        label = ""  # its grey suffices
    ink = SOFT if second.background else INK
    draw_text(draw, ((left + right) / 2, (top + bottom) / 2), label, 15, ink, anchor="mm")
