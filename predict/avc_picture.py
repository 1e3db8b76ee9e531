"""A picture of AVC: frames and spectrogram with the labels below, and the likeliest classes of the video."""

from __future__ import annotations

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
    to_png,
)
from ..figures.drawing import HEADING_HEIGHT, INK, MARGIN, SOFT
from .avc_result import AvcPrediction, LabelledPart, Ranked

_COLUMNS, _ROWS = 20, 12
_CELL = 76
_BAND, _GAP = 34, 26
_LINE, _BAR = 30, 320
_NONE = "no label"


def labels_strip(seconds: int) -> FrameStrip:
    """Return an empty strip for the frames and the sound of a video of so many seconds."""
    return FrameStrip(seconds, most=_COLUMNS * _ROWS, size=(_CELL, _CELL))


def draw_labels(
    strip: FrameStrip, result: AvcPrediction, classes: Sequence[str], *, title: str, caption: str
) -> bytes:
    """Draw the picture as PNG: the likeliest classes, then rows of frames, spectrogram and labels."""
    columns = min(len(strip.columns), _COLUMNS)
    width = 2 * MARGIN + _CELL * max(columns, 10)
    rows = list(strip.rows(_COLUMNS))
    height = row_height(strip.size) + _BAND + _GAP
    above = _LINE * len(result.top) + _GAP
    canvas, draw = new_canvas(width, HEADING_HEIGHT + above + height * len(rows) + MARGIN)
    if strip.stride > 1:
        caption += f" · a frame every {strip.stride} s"
    y = draw_heading(draw, title, caption, width)
    _draw_ranking(draw, y, width, result.top, classes)
    y += above
    for row, sound in rows:
        below = draw_row(canvas, draw, (MARGIN, y), row, sound, tick_every=5 if columns > 10 else 1)
        span = row[0].start, row[0].start + strip.stride * len(row)
        _draw_parts(draw, below, span, result.parts, classes, _CELL / strip.stride)
        y += height
    return to_png(canvas)


def _draw_ranking(draw: Any, y: int, width: int, top: Ranked, classes: Sequence[str]) -> None:
    """Draw a bar for the share of each class, with its name."""
    for line, (name, share) in enumerate(top):
        middle = y + _LINE * (line + 0.5)
        draw.rectangle(
            (MARGIN, middle - 9, MARGIN + max(_BAR * share, 1), middle + 9),
            fill=_colour(name, classes, strong=True),
        )
        left = MARGIN + _BAR + 12
        draw_text(draw, (left, middle), percent(share), 15, SOFT, anchor="lm")
        label = shorten_text(name, 15, width - MARGIN - left - 64)
        draw_text(draw, (left + 64, middle), label, 15, INK, anchor="lm")


def _draw_parts(
    draw: Any,
    y: int,
    span: tuple[float, float],
    parts: Sequence[LabelledPart],
    classes: Sequence[str],
    pixels_per_second: float,
) -> None:
    """Draw the parts within a row's span as bands with their labels."""
    for part in parts:
        start, end = max(part.start, span[0]), min(part.end, span[1])
        if start >= end:
            continue
        left, right = (MARGIN + pixels_per_second * (time - span[0]) for time in (start, end))
        names = [name for name, _ in part.labels]
        draw_chip(draw, (left, y + 4, right - 1, y + _BAND), _colour(names[0] if names else None, classes))
        label = shorten_text(", ".join(names) or _NONE, 15, right - left - 12)
        ink = INK if names else SOFT
        draw_text(draw, ((left + right) / 2, y + 2 + _BAND / 2), label, 15, ink, anchor="mm")


def _colour(name: str | None, classes: Sequence[str], *, strong: bool = False) -> tuple[int, int, int]:
    """Return the colour of a class; grey, as of a background class, for None."""
    index = len(classes) if name is None else classes.index(name)
    return class_colour(index, len(classes) + 1, strong=strong)
