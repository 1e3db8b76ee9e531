"""AVS drawn: which pixels sound, on frames and as layers for a video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .digits import percent
from .drawing import HEADING_HEIGHT, MARGIN, SOFT, heading, new_page, png, text
from .results import MaskedSecond
from .strip import Strip, draw_row, frame_size, row_height

_COLUMNS, _ROWS = 10, 12
_CELL, _LABEL, _GAP = 152, 26, 24
_TINT, _EDGE = (255, 64, 32, 120), (255, 240, 120, 235)


def full_mask(shares: npt.NDArray[np.floating[Any]], width: int, height: int) -> Any:
    """Shares `[224, 224]` as the mask of a `width`×`height` picture: a Pillow image of 0 and 255.

    The frame was squashed, so the mask is stretched, which is smooth; a pixel sounds above one half.
    """
    from PIL import Image

    smooth = Image.fromarray(shares.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return Image.fromarray(np.where(np.asarray(smooth) > 0.5, 255, 0).astype(np.uint8))


def layer(mask: Any) -> Any:
    """A mask as a transparent picture to be laid over its frame: tinted, with a bright edge.

    It has a palette of three colours, which is far quicker to draw and to write than four channels.
    """
    from PIL import Image

    sounds = np.asarray(mask) > 127
    edge = sounds & ~_eroded(sounds)
    picture = Image.fromarray(np.add(sounds, edge, dtype=np.uint8))
    colours = ((*_TINT[:3], 0), _TINT, _EDGE)
    picture.putpalette([value for colour in colours for value in colour[:3]])
    picture.info["transparency"] = bytes(colour[3] for colour in colours)
    return picture


def _eroded(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The mask `[H, W]` without the pixels at its edge; the picture's own is none."""
    padded = np.pad(mask, 1, constant_values=True)
    rows = padded[:-2] & padded[1:-1] & padded[2:]
    inner: npt.NDArray[np.bool_] = rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]
    return inner


def masks_strip(seconds: int, width: int, height: int) -> Strip:
    """Where the frames and the sound of a video's seconds are collected."""
    return Strip(seconds, most=_COLUMNS * _ROWS, size=frame_size(width, height, wide=_CELL))


def overlaid(frame: Any, mask: Any, size: tuple[int, int]) -> Any:
    """A frame with its mask laid over it, at `size`."""
    from PIL import Image

    picture = frame.resize(size).convert("RGBA")
    above = layer(mask.resize(size)).convert("RGBA")
    return Image.alpha_composite(picture, above).convert("RGB")


def draw_masks(strip: Strip, seconds: Sequence[MaskedSecond], *, title: str, beneath: str) -> bytes:
    """The whole picture as PNG: rows of overlaid frames and spectrogram, with the share that sounds."""
    rows = list(strip.rows(_COLUMNS))
    each = row_height(strip.size) + _LABEL + _GAP
    width = 2 * MARGIN + _CELL * max(min(len(strip.columns), _COLUMNS), 4)
    page, draw = new_page(width, HEADING_HEIGHT + each * len(rows))
    if strip.stride > 1:
        beneath += f" · a frame every {strip.stride} s"
    y = heading(draw, title, beneath, width)
    for row, sound in rows:
        below = draw_row(page, draw, (MARGIN, y), row, sound, every=1)
        for place, column in enumerate(row):
            second = seconds[int(column.start)]
            middle = MARGIN + _CELL * (place + 0.5)
            label = f"{percent(second.share)} of pixels" if second.share else "nothing"
            text(draw, (middle, below + 14), label, 14, SOFT, anchor="mm")
        y += each
    return png(page)
