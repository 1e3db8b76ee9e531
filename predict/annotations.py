"""Predicted masks as annotations: files that the collection `masks` reads, to be corrected and trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..figures import palette_bytes
from ..preprocess.collections.mask_names import time_name
from ..preprocess.collections.masks import ANNOTATIONS
from ..shards.frame_times import FRAME_OFFSETS_SECONDS


def annotation_folder(folder: Path, name: str) -> Path:
    """Make and return `Annotations/NAME` in `folder`, for the masks of the video `name`."""
    made = folder / ANNOTATIONS / name
    made.mkdir(parents=True)
    return made


def write_annotation(folder: Path, second: int, classes: npt.NDArray[Any]) -> None:
    """Write the mask of a second into the folder of its video, under the time of its frame.

    Args:
        folder: of `annotation_folder`.
        second: the number of the second.
        classes: integers `[H, W]`: 0 for the background, 1 for an object, or the index of a class.
    """
    from PIL import Image

    file = time_name(second + FRAME_OFFSETS_SECONDS["masks"])
    picture = Image.fromarray(classes.astype(np.uint8))
    picture.putpalette(palette_bytes())
    picture.save(folder / file, compress_level=1)
