"""Ground-truth masks of class indices: the class of every pixel, 0 for the background."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..collections.specification import FRAME_PIXELS
from ..media.pictures import open_picture
from ..media.reasons import ClipError
from .masks import check_shape, check_sizes, png
from .semantic_masks import classes_of_colours, is_in_palette

# Pixel values are read as they are stored; other modes have several values a pixel.
_INDEX_MODES = ("1", "L", "P", "I", "I;16")


def class_mask_members(
    paths: Sequence[Path | None],
    frames_shape: tuple[int, ...],
    *,
    kind: Literal["colours", "indices"] | str,
    classes: int,
    stored_size: tuple[int, int] | None = None,
) -> tuple[dict[str, bytes], list[str]]:
    """Return the masks at 224×224 as `mask_00.png`, …, squashed, nearest; and warnings.

    The pictures have one channel, and the class of a pixel as its value.

    Args:
        paths: the mask files, from the first frame's on; None for a frame without.
        frames_shape: `[M, H, W, 3]` of the frames that they belong to.
        kind: `colours` of the AVSS palette, read after resizing as its loader does, where another colour is
            the background; or `indices`, the stored values of a picture of one channel or with a palette.
        classes: number of classes, background included.
        stored_size: as of `mask_members`.

    Raises ClipError `mask-mismatch` when a mask is missing, unreadable, of another shape than the frames or
    than the others, or has a class that does not exist.
    """
    members: dict[str, bytes] = {}
    sizes, unknown = set(), 0
    for number, path in enumerate(paths):
        if path is None:
            continue
        mask = _open(path)
        sizes.add(mask.size)
        check_shape(mask.size, frames_shape, path, stored_size=stored_size)
        if kind == "colours":
            colours = np.asarray(_resized(mask.convert("RGB")))
            unknown = max(unknown, int((~is_in_palette(colours)).sum()))
            indices: npt.NDArray[np.integer[Any]] = classes_of_colours(colours)
        else:
            indices = _indices(mask, path)
        if indices.size and not 0 <= indices.min() <= indices.max() < classes:
            wrong = int(indices.max() if indices.max() >= classes else indices.min())
            raise ClipError(
                "mask-mismatch", f"mask {path.name}: it has the class {wrong}, expected 0 to {classes - 1}"
            )
        members[f"mask_{number:02d}.png"] = png(indices.astype(np.uint8))
    check_sizes(sizes)
    return members, _warnings(unknown)


def _open(path: Path) -> Any:
    try:
        return open_picture(path)
    except ClipError as error:
        raise ClipError("mask-mismatch", f"mask {path.name}: {error.message}") from error


def _indices(mask: Any, path: Path) -> npt.NDArray[np.integer[Any]]:
    if mask.mode not in _INDEX_MODES:
        raise ClipError(
            "mask-mismatch",
            f"mask {path.name}: its mode is {mask.mode}, a mask of classes has one value a pixel",
        )
    return np.asarray(_resized(mask)).astype(np.int64)


def _resized(mask: Any) -> Any:
    from PIL import Image

    return mask.resize((FRAME_PIXELS, FRAME_PIXELS), Image.Resampling.NEAREST)


def _warnings(unknown: int) -> list[str]:
    if not unknown:
        return []
    share = 100 * unknown / FRAME_PIXELS**2
    return [f"up to {share:.2f} % of a mask's pixels have a colour of no class: they count as background"]
