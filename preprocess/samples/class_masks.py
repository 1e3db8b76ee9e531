"""Ground-truth masks of class indices: the class of every pixel, 0 for the background."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..collections.avss_colours import classes_of_colours, is_in_palette
from ..collections.specification import FRAME_PIXELS
from ..media.reasons import ClipError
from .masks import check_shape, check_sizes, open_mask, png
from .object_masks import VOID

# Pixel values are read as they are stored; other modes have several values a pixel.
_INDEX_MODES = ("1", "L", "P", "I", "I;16")


def class_mask_members(
    paths: Sequence[Path | None],
    frames_shape: tuple[int, ...],
    *,
    kind: Literal["colours", "indices", "indices-or-void"] | str,
    classes: int,
    stored_size: tuple[int, int] | None = None,
) -> tuple[dict[str, bytes], list[str]]:
    """Return the masks at 224×224 as `mask_00.png`, …, squashed, nearest; and warnings.

    The pictures have one channel, and the class of a pixel as its value.

    Args:
        paths: the mask files, from the first frame's on; None for a frame without.
        frames_shape: `[M, H, W, 3]` of the frames that they belong to.
        kind: `colours` of the AVSS palette, read after resizing as its loader does, where another colour is
            the background; `indices`, the stored values of a picture of one channel or with a palette; or
            `indices-or-void`, the same with 255 for pixels that are not annotated: background.
        classes: number of classes, background included.
        stored_size: as of `mask_members`.

    Raises ClipError `mask-mismatch` when a mask is missing, unreadable, of another shape than the frames or
    than the others, or has a class that does not exist; and for `indices-or-void` when it is black and white.
    """
    members: dict[str, bytes] = {}
    sizes, unknown, void = set(), 0, 0.0
    for number, path in enumerate(paths):
        if path is None:
            continue
        mask = open_mask(path)
        sizes.add(mask.size)
        check_shape(mask.size, frames_shape, path, stored_size=stored_size)
        if kind == "colours":
            colours = np.asarray(_resized(mask.convert("RGB")))
            unknown = max(unknown, int((~is_in_palette(colours)).sum()))
            indices: npt.NDArray[np.integer[Any]] = classes_of_colours(colours)
        else:
            indices = _indices(mask, path)
            if kind == "indices-or-void":
                indices, share = _without_void(indices, mask, path)
                void = max(void, share)
        if indices.size and not 0 <= indices.min() <= indices.max() < classes:
            wrong = int(indices.max() if indices.max() >= classes else indices.min())
            raise ClipError(
                "mask-mismatch", f"mask {path.name}: it has the class {wrong}, expected 0 to {classes - 1}"
            )
        members[f"mask_{number:02d}.png"] = png(indices.astype(np.uint8))
    check_sizes(sizes)
    return members, _warnings(unknown, void)


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


def _without_void(
    indices: npt.NDArray[np.integer[Any]], mask: Any, path: Path
) -> tuple[npt.NDArray[np.integer[Any]], float]:
    """Return indices with the background in place of 255, and the share of these pixels.

    Raises ClipError for a black and white picture, in which 255 is hardly the mark of such pixels.
    """
    void = indices == VOID
    if mask.mode == "L" and void.any() and not (indices[~void] > 0).any():
        raise ClipError(
            "mask-mismatch",
            f"mask {path.name}: its values are 0 and 255, as of a black and white mask; save the numbers of "
            "classes as values, 255 is for pixels that are not annotated",
        )
    return np.where(void, 0, indices), float(void.mean())


def _warnings(unknown: int, void: float) -> list[str]:
    warnings = []
    if unknown:
        share = 100 * unknown / FRAME_PIXELS**2
        warnings.append(
            f"up to {share:.2f} % of a mask's pixels have a colour of no class: they count as background"
        )
    if void:
        warnings.append(f"up to {100 * void:.2f} % of a mask are marked as not annotated: background")
    return warnings
