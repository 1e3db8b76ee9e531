"""Colours, letters and small parts that all pictures of predictions are made of."""

from __future__ import annotations

import colorsys
import functools
import io
from typing import Any

Colour = tuple[int, int, int]

PAGE: Colour = (255, 255, 255)
INK: Colour = (27, 31, 36)
SOFT: Colour = (89, 99, 110)
RULE: Colour = (213, 218, 224)
BACKGROUND: Colour = (236, 239, 242)
MARGIN = 32


def class_colour(index: int, classes: int, *, strong: bool = False) -> Colour:
    """The colour of a class, the same in every picture; the last class, background, has a grey.

    Light, to be written on; `strong`, to be seen beside it.
    """
    if index == classes - 1:
        return RULE if strong else BACKGROUND
    lightness, saturation = (0.5, 0.6) if strong else (0.8, 0.75)
    red, green, blue = colorsys.hls_to_rgb(index / max(classes - 1, 1), lightness, saturation)
    return round(255 * red), round(255 * green), round(255 * blue)


@functools.cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def text(
    draw: Any, place: tuple[float, float], words: str, size: int, colour: Colour = INK, *, anchor: str = "la"
) -> None:
    """Writes one line; `anchor` as Pillow has it: `la` puts its left top at `place`, `mm` its middle."""
    draw.text(place, words, font=_font(size), fill=colour, anchor=anchor)


def text_width(words: str, size: int) -> float:
    """How wide a line is, in pixels."""
    return float(_font(size).getlength(words))


def fitted(words: str, size: int, width: float) -> str:
    """The words, or the first letters of them that fit into `width` pixels, with an ellipsis; or nothing."""
    if text_width(words, size) <= width:
        return words
    kept = next((n for n in range(len(words) - 1, 1, -1) if text_width(words[:n] + "…", size) <= width), 0)
    return words[:kept].rstrip() + "…" if kept else ""


def lines(words: str, size: int, width: float) -> list[str]:
    """The words in lines of at most `width` pixels, broken at spaces where there are any."""
    found: list[str] = [""]
    for word in words.split():
        longer = f"{found[-1]} {word}".strip()
        if found[-1] and text_width(longer, size) > width:
            found.append(word)
        else:
            found[-1] = longer
    return [fitted(line, size, width) for line in found]


def chip(draw: Any, box: tuple[float, float, float, float], colour: Colour) -> None:
    """A rectangle with rounded corners."""
    radius = min(6.0, (box[2] - box[0]) / 2, (box[3] - box[1]) / 2)
    draw.rounded_rectangle(box, radius=max(radius, 0), fill=colour)


def new_page(width: int, height: int) -> tuple[Any, Any]:
    """An empty picture, and what draws on it."""
    from PIL import Image, ImageDraw

    page = Image.new("RGB", (width, height), PAGE)
    return page, ImageDraw.Draw(page)


def heading(draw: Any, title: str, beneath: str, width: int) -> int:
    """Writes a title and a line beneath it at the top of a page. Returns where to go on below."""
    text(draw, (MARGIN, 24), fitted(title, 26, width - 2 * MARGIN), 26)
    text(draw, (MARGIN, 60), fitted(beneath, 15, width - 2 * MARGIN), 15, SOFT)
    return HEADING_HEIGHT


HEADING_HEIGHT = 96


def png(image: Any) -> bytes:
    """A Pillow image as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
