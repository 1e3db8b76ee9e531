"""A picture of AVC: frames and spectrogram with the labels below, and the likeliest classes of the video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..figures import FrameStrip, class_colour, draw_chip, draw_text, percent, shorten_text, to_png
from ..figures.drawing import INK, MARGIN, SOFT
from .avc_result import AvcPrediction, LabelledPart, Ranked
from .timeline import CELL, draw_rows, timeline_width

_BAND = 34
_LINE, _BAR, _SPACE = 30, 320, 26
_NONE = "no label"


def draw_labels(
    strip: FrameStrip, result: AvcPrediction, classes: Sequence[str], *, title: str, caption: str
) -> bytes:
    """Draw the picture as PNG: the likeliest classes, then rows of frames, spectrogram and labels."""
    drawn = draw_rows(
        strip,
        title=title,
        caption=caption,
        band_height=lambda _: _BAND,
        above=_LINE * len(result.top) + _SPACE,
    )
    _draw_ranking(drawn.draw, drawn.above, timeline_width(strip), result.top, classes)
    for row, y in drawn.bands:
        span = row[0].start, row[0].start + strip.stride * len(row)
        _draw_parts(drawn.draw, y, span, result.parts, classes, CELL / strip.stride)
    return to_png(drawn.canvas)


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
