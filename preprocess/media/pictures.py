"""Clips that are shipped as picture files, one for each frame, instead of a video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .container import check_file, check_size, shown
from .reasons import ClipError
from .video.frames import Frames

DECODER = "pillow"


def read_pictures(paths: Sequence[Path]) -> Frames:
    """Return the pictures as frames, one a second from second 15/16 on.

    They are used as stored: EXIF rotation is not applied, because it is not applied to the masks either.

    Raises ClipError: `missing`, `empty`, `unreadable` (also when their sizes differ), `too-large`.
    """
    images = [np.asarray(open_picture(path).convert("RGB")) for path in paths]
    if len({image.shape for image in images}) > 1:
        sizes = ", ".join(sorted({f"{image.shape[1]}x{image.shape[0]}" for image in images}))
        raise ClipError("unreadable", f"its pictures have different sizes: {sizes}")
    return Frames(np.stack(images), np.arange(len(images), dtype=np.float64) + 15 / 16, DECODER)


def open_picture(path: Path) -> Any:
    """Return the PNG or JPEG picture `path` as a loaded Pillow image, not converted.

    Raises ClipError: `missing`, `empty`, `unreadable`, `too-large`.
    """
    from PIL import Image, UnidentifiedImageError

    check_file(path)
    try:
        # With the formats given, Pillow tries no others: some of them run programs or read further files.
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            check_size(*image.size)  # the header's claim, before any pixel is unpacked
            image.load()
            return image
    except Image.DecompressionBombError as error:
        raise ClipError("too-large", f"{shown(path)}: {error}") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ClipError(
            "unreadable", f"{shown(path)} is not a whole PNG or JPEG picture ({error})"
        ) from error
