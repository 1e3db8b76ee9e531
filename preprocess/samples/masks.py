"""Ground-truth masks of the sounding pixels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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
    two_values: bool = False,
) -> dict[str, bytes]:
    """Return the masks at 224×224 as `mask_00.png`, …: one channel, 0 or 255, squashed, nearest.

    Args:
        paths: the mask files, from the first frame's on; None for a frame without.
        frames_shape: `[M, H, W, 3]` of the frames that they belong to.
        stored_size: width and height of the upright pictures as stored, where their pixels are not square:
            masks may be drawn on those.
        two_values: every pixel above 0 is an object, and files with other than two values are refused; by
            default pixels from 128 on are.

    Raises ClipError `mask-mismatch` when a mask is missing, unreadable, of another shape than the frames, or
    not made of black and white.
    """
    members: dict[str, bytes] = {}
    sizes = set()
    for number, path in enumerate(paths):
        if path is None:
            continue
        mask = _read_two_values(path) if two_values else _read(path)
        sizes.add(mask.size)
        check_shape(mask.size, frames_shape, path, stored_size=stored_size)
        members[f"mask_{number:02d}.png"] = _png(mask)
    check_sizes(sizes)
    return members


def check_sizes(sizes: set[tuple[int, int]]) -> None:
    """Raise ClipError `mask-mismatch` when the masks of a clip have several sizes, width and height."""
    if len(sizes) > 1:
        said = ", ".join(sorted(f"{width}x{height}" for width, height in sizes))
        raise ClipError("mask-mismatch", f"its masks have different sizes: {said}")


def open_mask(path: Path) -> Any:
    """Return a mask file as a Pillow image. Raises ClipError `mask-mismatch` when it cannot be read."""
    try:
        return open_picture(path)
    except ClipError as error:
        raise ClipError("mask-mismatch", f"mask {path.name}: {error.message}") from error


def _read(path: Path) -> Any:
    # Over RGB: a palette's colours count, not its indices, and transparency does not.
    mask = open_mask(path).convert("RGB").convert("L")
    brightest = mask.getextrema()[1]
    if 0 < brightest < _FOREGROUND:
        raise ClipError(
            "mask-mismatch", f"mask {path.name}: its brightest pixel is {brightest}, masks are 0 and 255"
        )
    return mask


def _read_two_values(path: Path) -> Any:
    """Return a mask of 0 and 255 from a file with 0 and one other value, whatever that is.

    The authors' loader divides the values by 255 and compares nothing: grey levels would be shares of an
    object, and of a picture in colours or with a palette it would read indices of a palette.
    """
    from PIL import Image

    picture = open_mask(path)
    values = _values(picture)
    least, most = int(values.min()), int(values.max())
    if not ((values == least) | (values == most)).all():
        fault = f"it has {len(np.unique(values))} values"
    elif 0 < least < most:
        fault = "none of its two values is 0, the background"
    elif picture.mode == "P" and ((values > 0) != (np.asarray(picture) > 0)).any():
        fault = "its palette gives 0 another colour than black"
    else:
        return Image.fromarray(np.where(values > 0, 255, 0).astype(np.uint8))
    raise ClipError("mask-mismatch", f"mask {path.name}: {fault}; a mask has 0 and one other value")


def _values(picture: Any) -> npt.NDArray[np.int64]:
    """Return one number for every pixel: its grey level, or its colour as red, green, blue; 0 is black."""
    if picture.mode.startswith("I"):  # 16 bits, which a conversion would clip
        return np.asarray(picture).astype(np.int64)
    red, green, blue = np.moveaxis(np.asarray(picture.convert("RGB")).astype(np.int64), -1, 0)
    colours: npt.NDArray[np.int64] = red << 16 | green << 8 | blue
    return colours


def check_shape(
    size: tuple[int, int],
    frames_shape: tuple[int, ...],
    path: Path,
    *,
    stored_size: tuple[int, int] | None,
) -> None:
    """Raise ClipError `mask-mismatch` when a mask has another shape than its frames, and is not square.

    `size` is its width and height; the others as `mask_members` has them.
    """
    if stored_size is not None and _fits(size, stored_size):
        return
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
    return png(np.where(pixels >= _FOREGROUND, 255, 0).astype(np.uint8))


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return pixels `[H, W]` as a PNG of one channel."""
    from PIL import Image

    buffer = io.BytesIO()
    # The compressor's settings are named, so that the bytes do not follow a change of defaults.
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=6, optimize=False)
    return buffer.getvalue()
