"""One colour for each class, the same in every picture and page."""

from __future__ import annotations

import colorsys
from typing import Any

from .drawing import BACKGROUND, RULE, Colour


def class_hue(index: int, classes: int) -> float | None:
    """Return the hue of class `index` of `classes` in degrees; None for the last class, the background."""
    return None if index == classes - 1 else 360 * index / (classes - 1)


def class_colour(index: int, classes: int, *, strong: bool = False) -> Colour:
    """Return the colour of class `index` of `classes`; grey for the last class, the background.

    The colour is light, for a surface below text; with `strong` it is dark enough for a bar on white.
    """
    hue = class_hue(index, classes)
    if hue is None:
        return RULE if strong else BACKGROUND
    lightness, saturation = (0.5, 0.6) if strong else (0.8, 0.75)
    red, green, blue = colorsys.hls_to_rgb(hue / 360, lightness, saturation)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_chip(draw: Any, box: tuple[float, float, float, float], colour: Colour) -> None:
    """Draw a rectangle with rounded corners; `box` is left, top, right, bottom in pixels."""
    radius = min(6.0, (box[2] - box[0]) / 2, (box[3] - box[1]) / 2)
    draw.rounded_rectangle(box, radius=max(radius, 0), fill=colour)
