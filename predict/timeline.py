"""AVE drawn: what happens when, under what is seen and heard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from .digits import percent
from .drawing import (
    HEADING_HEIGHT,
    INK,
    MARGIN,
    SOFT,
    Colour,
    chip,
    class_colour,
    fitted,
    heading,
    new_page,
    png,
    text,
    text_width,
)
from .results import Second
from .strip import Column, Strip, draw_row, row_height

COLUMNS, ROWS = 20, 12
CELL = 76
_BAND, _BARS, _NUMBERS, _GAP = 34, 30, 18, 26
_LEGEND_LINE = 34


def timeline_strip(seconds: int) -> Strip:
    """Where the frames and the sound of a video's seconds are collected."""
    return Strip(seconds, most=COLUMNS * ROWS, size=(CELL, CELL))


def draw_timeline(
    strip: Strip, seconds: Sequence[Second], classes: Sequence[str], *, title: str, beneath: str
) -> bytes:
    """The whole picture as PNG: rows of frames, spectrogram, class, and confidence by second."""
    columns = min(len(strip.columns), COLUMNS)
    width = 2 * MARGIN + CELL * max(columns, 10)
    rows = list(strip.rows(COLUMNS))
    chips = _legend(seconds, width)
    each = row_height(strip.size) + _BAND + _BARS + _NUMBERS + _GAP
    page, draw = new_page(width, HEADING_HEIGHT + each * len(rows) + _LEGEND_LINE * len(chips) + MARGIN)
    if strip.stride > 1:
        beneath += f" · a frame every {strip.stride} s"
    y = heading(draw, title, beneath, width)
    for columns_of_row, sound in rows:
        below = draw_row(page, draw, (MARGIN, y), columns_of_row, sound, every=5 if columns > 10 else 1)
        _draw_classes(draw, below, columns_of_row, seconds, classes, strip.stride)
        y += each
    for line in chips:
        x = float(MARGIN)
        for name, label, wide in line:
            colour = class_colour(classes.index(name), len(classes))
            chip(draw, (x, y, x + wide, y + 26), colour)
            text(draw, (x + 12, y + 13), label, 15, INK, anchor="lm")
            x += wide + 10
        y += _LEGEND_LINE
    return png(page)


def _legend(seconds: Sequence[Second], width: int) -> list[list[tuple[str, str, float]]]:
    """The classes that occur, the longest first, in lines: name, label and width in pixels."""
    lines: list[list[tuple[str, str, float]]] = [[]]
    room = width - 2.0 * MARGIN
    for name, count in Counter(second.name for second in seconds).most_common():
        label = fitted(f"{name}  {count} s", 15, width - 2 * MARGIN - 24)
        wide = text_width(label, 15) + 24
        if wide > room and lines[-1]:
            lines.append([])
            room = width - 2.0 * MARGIN
        lines[-1].append((name, label, wide))
        room -= wide + 10
    return lines


def _draw_classes(
    draw: Any,
    y: int,
    row: Sequence[Column],
    seconds: Sequence[Second],
    classes: Sequence[str],
    stride: int,
) -> None:
    """The runs of equal class of a row as bands with their names; below, how sure each second is."""
    first = int(row[0].start)
    own = seconds[first : first + stride * len(row)]
    each = CELL / stride
    start = 0
    for place in range(1, len(own) + 1):
        if place < len(own) and own[place].name == own[start].name:
            continue
        box = (MARGIN + each * start, y + 4, MARGIN + each * place - 1, y + _BAND)
        name, index = own[start].name, classes.index(own[start].name)
        chip(draw, box, class_colour(index, len(classes)))
        label = fitted(name, 15, box[2] - box[0] - 12)
        if own[start].background and label != name:
            label = ""  # the grey says it
        ink: Colour = SOFT if own[start].background else INK
        text(draw, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), label, 15, ink, anchor="mm")
        start = place
    bottom = y + _BAND + _BARS
    for place, second in enumerate(own):
        left = MARGIN + each * place
        high = (_BARS - 4) * second.confidence
        colour = class_colour(classes.index(second.name), len(classes), strong=True)
        draw.rectangle((left, bottom - high, left + max(each - 2, 0), bottom), fill=colour)
        if stride == 1:
            text(draw, (left + each / 2, bottom + 10), percent(second.confidence), 12, SOFT, anchor="mm")
