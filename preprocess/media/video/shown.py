"""Conversion of stored pictures to shown ones: deinterlaced, upright, with square pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..picture_facts import VideoFacts


def shown_pictures(images: NDArray[np.uint8], video: VideoFacts) -> NDArray[np.uint8]:
    """Return the stored pictures `images` [M, H, W, 3] as they are shown: uint8 [M, H', W', 3].

    Pictures that are stored as they are shown are returned unchanged.
    """
    if video.interlaced:
        images = deinterlaced(images)
    images = video.orientation.apply(images)
    width, height = video.square_size
    return images if images.shape[1:3] == (height, width) else _resized(images, width, height)


def deinterlaced(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `images` [M, H, W, 3] with the bottom field's lines replaced by the mean of those around them.

    The two fields were recorded one after the other, so moving objects have combs. No other picture is used.
    """
    result = images.copy()
    top = images[:, 0::2].astype(np.uint16)
    below = np.concatenate([top[:, 1:], top[:, -1:]], axis=1)  # the last line has none below it
    lines = result[:, 1::2]
    lines[:] = ((top + below + 1) // 2)[:, : lines.shape[1]].astype(np.uint8)
    return result


def _resized(images: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    from PIL import Image

    return np.stack(
        [
            np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
            for image in images
        ]
    )
