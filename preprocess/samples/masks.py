"""Ground-truth masks of the sounding pixels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..collections.specification import FRAME_PIXELS
from ..media.pictures import open_picture
from ..media.reasons import ClipError

# Squashed masks are square whatever the video; others must have the shape of the frames, but for rounding.
_ASPECT_TOLERANCE = 0.02
_FOREGROUND = 128


def mask_members(
    paths: Sequence[Path | None],
    frames_shape: tuple[int, ...],
    *,
    stored_size: tuple[int, int] | None = None,
) -> dict[str, bytes]:
    """Return the masks at 224×224 as `mask_00.png`, …: one channel, 0 or 255, squashed, nearest.

    Args:
        paths: the mask files, from the first frame's on; None for a frame without.
        frames_shape: `[M, H, W, 3]` of the frames that they belong to.
        stored_size: width and height of the upright pictures as stored, where their pixels are not square:
            masks may be drawn on those.

    Raises ClipError `mask-mismatch` when a mask is missing, unreadable, of another shape than the frames, or
    not made of black and white.
    """
    members: dict[str, bytes] = {}
    sizes = set()
    for number, path in enumerate(paths):
        if path is None:
            continue
        mask = _read(path)
        sizes.add(mask.size)
        if stored_size is None or not _fits(mask.size, stored_size):
            _check_shape(mask.size, frames_shape, path)
        members[f"mask_{number:02d}.png"] = _png(mask)
    if len(sizes) > 1:
        said = ", ".join(sorted(f"{width}x{height}" for width, height in sizes))
        raise ClipError("mask-mismatch", f"its masks have different sizes: {said}")
    return members


def _read(path: Path) -> Any:
    try:
        # Over RGB: a palette's colours count, not its indices, and transparency does not.
        mask = open_picture(path).convert("RGB").convert("L")
    except ClipError as error:
        raise ClipError("mask-mismatch", f"mask {path.name}: {error.message}") from error
    brightest = mask.getextrema()[1]
    if 0 < brightest < _FOREGROUND:
        raise ClipError(
            "mask-mismatch", f"mask {path.name}: its brightest pixel is {brightest}, masks are 0 and 255"
        )
    return mask


def _check_shape(size: tuple[int, int], frames_shape: tuple[int, ...], path: Path) -> None:
    width, height = size
    frame_height, frame_width = frames_shape[1:3]
    if width != height and not _fits(size, (frame_width, frame_height)):
        raise ClipError(
            "mask-mismatch",
            f"mask {path.name} is {width}x{height}, neither square nor the shape of its "
            f"{frame_width}x{frame_height} frames",
        )


def _fits(size: tuple[int, int], frame_size: tuple[int, int]) -> bool:
    """Tell whether two sizes, width and height, have the same shape."""
    return abs(size[0] * frame_size[1] / (size[1] * frame_size[0]) - 1) <= _ASPECT_TOLERANCE


def _png(mask: Any) -> bytes:
    from PIL import Image

    pixels = np.asarray(mask.resize((FRAME_PIXELS, FRAME_PIXELS), Image.Resampling.NEAREST))
    binary = Image.fromarray(np.where(pixels >= _FOREGROUND, 255, 0).astype(np.uint8))
    buffer = io.BytesIO()
    # The compressor's settings are named, so that the bytes do not follow a change of defaults.
    binary.save(buffer, "PNG", compress_level=6, optimize=False)
    return buffer.getvalue()
