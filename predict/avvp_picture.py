"""A timeline of AVVP: frames, spectrogram, and below them a row of audible and one of visible classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..figures import Column, FrameStrip, class_colour, draw_chip, draw_text, shorten_text, to_png
from ..figures.drawing import INK, MARGIN, SOFT
from .avvp_result import MODALITIES, ParsedSecond
from .timeline import CELL, draw_rows

_TITLE, _LANE = 22, 28


@dataclass(frozen=True)
class Bar:
    """A class in successive seconds `[first, last)` of a row of the picture."""

    name: str
    first: int
    last: int


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

    def lanes(row: Sequence[Column]) -> list[list[list[Bar]]]:
        first = int(row[0].start)
        return [lanes_of(seconds[first : first + strip.stride * len(row)], one) for one in MODALITIES]

    drawn = draw_rows(
        strip, title=title, caption=caption, band_height=lambda row: sum(map(_height, lanes(row)))
    )
    for row, y in drawn.bands:
        for modality, bars in zip(MODALITIES, lanes(row), strict=True):
            _draw_lanes(drawn.draw, y, modality, bars, classes, CELL / strip.stride)
            y += _height(bars)
    return to_png(drawn.canvas)


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
