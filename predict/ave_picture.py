"""A timeline of AVE: frames, spectrogram, class and confidence by second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..figures import (
    FrameStrip,
    class_colour,
    draw_chip,
    draw_text,
    percent,
    shorten_text,
    text_width,
    to_png,
)
from ..figures.drawing import INK, MARGIN, SOFT
from .ave_result import Second
from .timeline import CELL, draw_rows, timeline_width

_BAND, _BARS, _NUMBERS = 34, 30, 18
_LEGEND_LINE = 34


def draw_timeline(
    strip: FrameStrip, seconds: Sequence[Second], classes: Sequence[str], *, title: str, caption: str
) -> bytes:
    """Draw the timeline as PNG: rows of frames and spectrogram, classes, confidences, and a legend."""
    legend = _legend(seconds, timeline_width(strip))
    drawn = draw_rows(
        strip,
        title=title,
        caption=caption,
        band_height=lambda _: _BAND + _BARS + _NUMBERS,
        below=_LEGEND_LINE * len(legend),
    )
    for row, y in drawn.bands:
        first = int(row[0].start)
        shown = seconds[first : first + strip.stride * len(row)]
        _draw_classes(drawn.draw, y, shown, classes, strip.stride)
    for number, line in enumerate(legend):
        x, y = float(MARGIN), drawn.below + _LEGEND_LINE * number
        for name, label, wide in line:
            colour = class_colour(classes.index(name), len(classes))
            draw_chip(drawn.draw, (x, y, x + wide, y + 26), colour)
            draw_text(drawn.draw, (x + 12, y + 13), label, 15, INK, anchor="lm")
            x += wide + 10
    return to_png(drawn.canvas)


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
    cell = CELL / stride
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
