"""Masks of objects as people draw them, made binary: palettes, instance numbers, black and white.

The value 0, or black, is the background; every other value is an object, whatever instance it is the number
of. In a palette picture, 255 is the mark of VOS collections for pixels that are not annotated: background.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..collections.specification import FRAME_PIXELS
from ..media.reasons import ClipError
from .masks import check_shape, check_sizes, open_mask, png

VOID = 255
# A picture with more values has smooth edges, or is no mask at all.
_MOST_VALUES = 64
_WHITE = 255


def object_mask_members(
    paths: Sequence[Path | None],
    frames_shape: tuple[int, ...],
    *,
    stored_size: tuple[int, int] | None = None,
) -> tuple[dict[str, bytes], list[str]]:
    """Return the masks at 224×224 as `mask_00.png`, …: 0 or 255, squashed, nearest; and warnings.

    Args:
        paths: the mask files, from the first frame's on; None for a frame without.
        frames_shape: `[M, H, W, 3]` of the frames that they belong to.
        stored_size: as of `mask_members`.

    Raises ClipError `mask-mismatch` when a mask is missing, unreadable, of another shape than the frames or
    than the others, transparent, or has smooth edges.
    """
    members: dict[str, bytes] = {}
    sizes, void = set(), 0
    for number, path in enumerate(paths):
        if path is None:
            continue
        mask = open_mask(path)
        sizes.add(mask.size)
        check_shape(mask.size, frames_shape, path, stored_size=stored_size)
        objects, unmarked = _objects(mask, path)
        void = max(void, unmarked)
        members[f"mask_{number:02d}.png"] = png(_squashed(objects))
    check_sizes(sizes)
    share = 100 * void / max((width * height for width, height in sizes), default=1)
    return members, [f"up to {share:.2f} % of a mask are marked as not annotated: background"] if void else []


def _objects(mask: Any, path: Path) -> tuple[npt.NDArray[np.bool_], int]:
    """Return the pixels of objects `[H, W]`, and the number of those that are not annotated."""
    if mask.mode == "P":
        values = np.asarray(mask)
        unmarked = values == VOID
        return (values != 0) & ~unmarked, int(unmarked.sum())
    if mask.mode == "1":
        return np.asarray(mask), 0
    if mask.mode in ("L", "I", "I;16"):
        values, white = np.asarray(mask).astype(np.int64), _WHITE
    elif mask.mode == "RGB":
        red, green, blue = np.moveaxis(np.asarray(mask).astype(np.int64), -1, 0)
        values, white = red << 16 | green << 8 | blue, 0xFFFFFF
    else:
        raise ClipError(
            "mask-mismatch",
            f"mask {path.name}: its mode is {mask.mode}; save it without transparency, as black and white or "
            "with a palette",
        )
    _check_edges(values, white, path)
    return values != 0, 0


def _check_edges(values: npt.NDArray[np.int64], white: int, path: Path) -> None:
    """Raise ClipError for smooth edges, and for white beside other values: what is an object is not clear."""
    used = np.unique(values)
    if len(used) > _MOST_VALUES or (used[-1] == white and len(used) > 1 + int(used[0] == 0)):
        raise ClipError(
            "mask-mismatch",
            f"mask {path.name}: it has {len(used)} values up to {used.max()}, such as of smooth edges; save "
            "it without anti-aliasing, and instances with a palette",
        )


def _squashed(objects: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    from PIL import Image

    picture = Image.fromarray(np.where(objects, _WHITE, 0).astype(np.uint8))
    return np.array(picture.resize((FRAME_PIXELS, FRAME_PIXELS), Image.Resampling.NEAREST))
