"""Class maps of AVSS as pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..figures import palette_bytes

_TINT, _EDGE = 140, 235
# Of the edges, in place of the colour of class 255.
_EDGE_INDEX, _EDGE_COLOUR = 255, bytes((255, 255, 255))


def full_class_map(shares: npt.NDArray[np.floating[Any]], width: int, height: int) -> Any:
    """Return shares `[classes, 224, 224]` as the classes of a `width`×`height` picture.

    The shares of the classes that are the likeliest of a pixel are stretched like the frame was squashed,
    bilinearly, one class after the other; a pixel has the class with the largest one. The result is a Pillow
    image with the palette of AVSS, whose values are the classes.
    """
    from PIL import Image

    best = np.full((height, width), -1, dtype=np.float32)
    classes = np.zeros((height, width), dtype=np.uint8)
    for index in np.unique(shares.argmax(0)):
        smooth = Image.fromarray(shares[index].astype(np.float32)).resize(
            (width, height), Image.Resampling.BILINEAR
        )
        values = np.asarray(smooth)
        classes[values > best] = index
        best = np.maximum(best, values)
    picture = Image.fromarray(classes)
    picture.putpalette(palette_bytes())
    return picture


def class_layer(mask: Any) -> Any:
    """Return a class map as a transparent picture to lay over its frame, with bright edges."""
    from PIL import Image

    classes = np.asarray(mask)
    padded = np.pad(classes, 1, mode="edge")
    shifted = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    edge = (classes > 0) & np.logical_or.reduce([classes != other for other in shifted])
    picture = Image.fromarray(np.where(edge, np.uint8(_EDGE_INDEX), classes).astype(np.uint8))
    picture.putpalette(palette_bytes()[: 3 * _EDGE_INDEX] + _EDGE_COLOUR)
    picture.info["transparency"] = bytes([0, *[_TINT] * (_EDGE_INDEX - 1), _EDGE])
    return picture
