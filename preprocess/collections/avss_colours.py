"""Colours and class indices of AVSS. The palette is that of PASCAL VOC, cut to 71 classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...figures.class_palette import palette_colour
from . import avss_classes

CLASSES = len(avss_classes.CLASSES)

PALETTE = np.array([palette_colour(index) for index in range(CLASSES)], dtype=np.uint8)
"""RGB of every class, uint8 `[71, 3]`."""


def classes_of_colours(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the class of every pixel: RGB `[..., 3]` → `[...]`. A colour outside the palette is class 0."""
    codes = _codes(colours)
    known = _codes(PALETTE)
    order = np.argsort(known)
    place = order[np.searchsorted(known, codes, sorter=order).clip(max=CLASSES - 1)]
    classes: npt.NDArray[np.uint8] = np.where(known[place] == codes, place, 0).astype(np.uint8)
    return classes


def is_in_palette(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Tell for every pixel whether its colour is that of a class: RGB `[..., 3]` → `[...]`."""
    return np.isin(_codes(colours), _codes(PALETTE))


def colours_of_classes(classes: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.uint8]:
    """Return the colours: classes `[...]` → RGB `[..., 3]`. Raises ValueError for a class above 70."""
    if classes.size and not 0 <= classes.min() <= classes.max() < CLASSES:
        raise ValueError(f"classes are {classes.min()} to {classes.max()}, must be 0 to {CLASSES - 1}")
    colours: npt.NDArray[np.uint8] = PALETTE[classes]
    return colours


def palette_picture(classes: npt.NDArray[np.uint8]) -> Any:
    """Return class indices `[H, W]` as a Pillow picture with the palette, as DAVIS stores masks.

    Raises ValueError for a class above 70.
    """
    from PIL import Image

    colours_of_classes(classes)
    picture = Image.fromarray(classes)
    picture.putpalette(PALETTE.tobytes())
    return picture


def _codes(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    red, green, blue = (colours[..., channel].astype(np.int64) for channel in range(3))
    return red << 16 | green << 8 | blue
