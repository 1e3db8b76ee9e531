"""A clip of a report as one picture: frames, sound, and the true and the predicted answers."""

from __future__ import annotations

import base64
import colorsys
from typing import Any

from ..figures import (
    Colour,
    draw_chip,
    draw_heading,
    draw_text,
    new_canvas,
    open_drawn,
    shorten_text,
    to_png,
    wrap_text,
)
from ..figures.drawing import BACKGROUND, INK, MARGIN, SOFT
from .strips import Row, Strip
from .views import ClipView

WIDTH = 1200
_HEADING_WIDTH = 130
_TEXT_HEIGHT = 34
_GAP = 8
_MOST_ANSWERS = 8
# The font has no such letters.
_PLAIN = str.maketrans({"–": "-", "→": ":", "✗": "x"})
_WRONG: Colour = (178, 34, 34)


def draw_clip(clip: ClipView, *, title: str, caption: str) -> bytes:
    """Return a clip of a report as the content of a PNG file of 1200 pixels' width."""
    rows = [(row, _open(row)) for row in clip.strip.rows]
    answers = [line for each in clip.answers[:_MOST_ANSWERS] for line in _answer_lines(each)]
    strip_height = sum((_TEXT_HEIGHT if image is None else image.height) + _GAP for _, image in rows)
    height = 96 + strip_height + 24 * len(answers) + MARGIN
    canvas, draw = new_canvas(WIDTH, height)
    y = draw_heading(draw, title, caption, WIDTH)
    for row, image in rows:
        middle = y + (_TEXT_HEIGHT if image is None else image.height) / 2
        draw_text(draw, (MARGIN, middle), row.heading, 15, SOFT, anchor="lm")
        if image is None:
            _draw_cells(draw, clip.strip, row, y)
            y += _TEXT_HEIGHT + _GAP
        else:
            canvas.paste(image, (MARGIN + _HEADING_WIDTH, y))
            y += image.height + _GAP
    for text, wrong in answers:
        draw_text(draw, (MARGIN, y), text, 16, _WRONG if wrong else INK)
        y += 24
    return to_png(canvas)


def _open(row: Row) -> Any:
    """Return the picture of a row at the strip's width; None for a row of texts."""
    if not row.image:
        return None
    image = open_drawn(base64.b64decode(row.image.partition(",")[2])).convert("RGB")
    width = WIDTH - 2 * MARGIN - _HEADING_WIDTH
    return image.resize((width, max(round(image.height * width / image.width), 1)))


def _draw_cells(draw: Any, strip: Strip, row: Row, y: int) -> None:
    """Draw segments as wide as their seconds, or a cell for every column."""
    cells: list[tuple[str, int, Colour | None, bool]] = [(text, 1, None, False) for text in row.cells]
    cells += [(each.name, each.seconds, _colour(each.hue), each.wrong) for each in row.segments]
    unit = (WIDTH - 2 * MARGIN - _HEADING_WIDTH) / strip.columns
    x = float(MARGIN + _HEADING_WIDTH)
    for text, columns, colour, wrong in cells:
        right = x + columns * unit
        if colour is not None:
            draw_chip(draw, (x + 1, y, right - 1, y + _TEXT_HEIGHT), colour)
        shown = shorten_text((f"wrong: {text}" if wrong else text).translate(_PLAIN), 14, right - x - 8)
        place = ((x + right) / 2, y + _TEXT_HEIGHT / 2)
        draw_text(draw, place, shown, 14, _WRONG if wrong else INK, anchor="mm")
        x = right


def _colour(hue: int | None) -> Colour:
    """Return the surface of a class, as the pages have it."""
    if hue is None:
        return BACKGROUND
    red, green, blue = colorsys.hls_to_rgb(hue / 360, 0.82, 0.7)
    return round(255 * red), round(255 * green), round(255 * blue)


def _answer_lines(answer: Any) -> list[tuple[str, bool]]:
    truth = "" if answer.right else f" (right: {answer.true})"
    text = f"{answer.question} - {answer.predicted}{truth}"
    return [(line, not answer.right) for line in wrap_text(text, 16, WIDTH - 2 * MARGIN)]
