"""Semantic masks of AVSS: colours and class indices, and the geometry of its loader.

The palette is that of PASCAL VOC, cut to 71 classes. The loader (OpenNLPLab/AVSBench, `color_dataloader.py`)
resizes the coloured mask, nearest neighbour, and reads classes from colours afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...figures.class_palette import palette_colour
from ..collections.specification import FRAME_PIXELS

CLASSES = 71


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


@dataclass(frozen=True)
class Geometry:
    """Resize, then cut out 224×224; pixels.

    Attributes:
        width, height: after resizing.
        left, top: of the part that is cut out.
    """

    width: int
    height: int
    left: int = 0
    top: int = 0

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the part, as Pillow's `crop` takes them."""
        return self.left, self.top, self.left + FRAME_PIXELS, self.top + FRAME_PIXELS


def training_geometry(width: int, height: int) -> Geometry:
    """Return the geometry of training pictures: short side to 224, then the centre.

    The long side is truncated to whole pixels, the offset of the centre rounded half to even, as torchvision
    does. Raises ValueError for a side below 1.
    """
    _check(width, height)
    short = min(width, height)
    wide, high = FRAME_PIXELS * width // short, FRAME_PIXELS * height // short
    return Geometry(wide, high, round((wide - FRAME_PIXELS) / 2), round((high - FRAME_PIXELS) / 2))


def evaluation_geometry(width: int, height: int) -> Geometry:
    """Return the geometry of val and test pictures: squashed to 224×224."""
    _check(width, height)
    return Geometry(FRAME_PIXELS, FRAME_PIXELS)


def mask_classes(mask: Any, geometry: Geometry) -> npt.NDArray[np.uint8]:
    """Return the classes of a coloured mask, a Pillow image, at 224×224: uint8 `[224, 224]`."""
    from PIL import Image

    resized = mask.convert("RGB").resize((geometry.width, geometry.height), Image.Resampling.NEAREST)
    return classes_of_colours(np.asarray(resized.crop(geometry.box)))


def _check(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ValueError(f"a picture of {width}x{height} has no pixels")


def _codes(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    red, green, blue = (colours[..., channel].astype(np.int64) for channel in range(3))
    return red << 16 | green << 8 | blue
