"""Drawing primitives for pictures with text: colours, fonts, text, headings."""

from __future__ import annotations

import functools
import io
from typing import Any

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

PAGE: Colour = (255, 255, 255)
INK: Colour = (27, 31, 36)
SOFT: Colour = (89, 99, 110)
RULE: Colour = (213, 218, 224)
BACKGROUND: Colour = (236, 239, 242)
MASK: Colour = (255, 64, 32)
MARGIN = 32
HEADING_HEIGHT = 96


@functools.cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def new_canvas(width: int, height: int) -> tuple[Any, Any]:
    """Return an empty Pillow image of `width`×`height` pixels, and the `ImageDraw` that draws on it."""
    from PIL import Image, ImageDraw

    canvas = Image.new("RGB", (width, height), PAGE)
    return canvas, ImageDraw.Draw(canvas)


def draw_text(
    draw: Any,
    position: tuple[float, float],
    text: str,
    size: int,
    colour: Colour = INK,
    *,
    anchor: str = "la",
) -> None:
    """Draw one line of text.

    Args:
        draw: a Pillow `ImageDraw`.
        position: of the anchor, in pixels.
        text: the line.
        size: of the font, in pixels.
        colour: of the text.
        anchor: a Pillow text anchor: `la` is the left top of the line, `mm` its middle.
    """
    draw.text(position, text, font=_font(size), fill=colour, anchor=anchor)


def text_width(text: str, size: int) -> float:
    """Return the width of a line in pixels."""
    return float(_font(size).getlength(text))


def shorten_text(text: str, size: int, width: float) -> str:
    """Return `text`, cut with an ellipsis to fit into `width` pixels; empty when two letters do not fit."""
    if text_width(text, size) <= width:
        return text
    lengths = range(len(text) - 1, 1, -1)
    length = next((n for n in lengths if text_width(text[:n] + "…", size) <= width), 0)
    return text[:length].rstrip() + "…" if length else ""


def wrap_text(text: str, size: int, width: float) -> list[str]:
    """Break `text` at spaces into lines of at most `width` pixels; longer words are shortened."""
    lines: list[str] = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [shorten_text(line, size, width) for line in lines]


def draw_heading(draw: Any, title: str, caption: str, width: int) -> int:
    """Draw a title and a caption at the top of a canvas of `width` pixels. Returns the y below them."""
    draw_text(draw, (MARGIN, 24), shorten_text(title, 26, width - 2 * MARGIN), 26)
    draw_text(draw, (MARGIN, 60), shorten_text(caption, 15, width - 2 * MARGIN), 15, SOFT)
    return HEADING_HEIGHT


def open_drawn(content: bytes) -> Any:
    """Return a picture that this program has drawn, PNG or JPEG, as a Pillow image."""
    from PIL import Image

    return Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))


def to_png(image: Any) -> bytes:
    """Return a Pillow image as the content of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
