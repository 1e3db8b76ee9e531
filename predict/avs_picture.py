"""Masks of AVS as pictures: on frames, as layers for a video, and as a strip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..figures import (
    FrameStrip,
    draw_heading,
    draw_row,
    draw_text,
    frame_size,
    new_canvas,
    percent,
    row_height,
    to_png,
)
from ..figures.drawing import HEADING_HEIGHT, MARGIN, MASK, SOFT
from .avs_result import MaskedSecond

_COLUMNS, _ROWS = 10, 12
_CELL, _LABEL, _GAP = 152, 26, 24
_TINT, _EDGE = (*MASK, 120), (255, 240, 120, 235)


def full_mask(shares: npt.NDArray[np.floating[Any]], width: int, height: int) -> Any:
    """Return shares `[224, 224]` as the mask of a `width`×`height` picture: a Pillow image of 0 and 255.

    The shares are stretched like the frame was squashed, bilinearly; a pixel sounds above 0.5.
    """
    from PIL import Image

    smooth = Image.fromarray(shares.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return Image.fromarray(np.where(np.asarray(smooth) > 0.5, 255, 0).astype(np.uint8))


def mask_layer(mask: Any) -> Any:
    """Return a mask as a transparent picture to lay over its frame: tinted, with a bright edge.

    Its palette of three colours makes it much faster to draw and to write than four channels.
    """
    from PIL import Image

    sounds = np.asarray(mask) > 127
    edge = sounds & ~_eroded(sounds)
    picture = Image.fromarray(np.add(sounds, edge, dtype=np.uint8))
    colours = ((*MASK, 0), _TINT, _EDGE)
    picture.putpalette([value for colour in colours for value in colour[:3]])
    picture.info["transparency"] = bytes(colour[3] for colour in colours)
    return picture


def _eroded(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the mask `[H, W]` without the pixels at its edge; the picture's border is no edge."""
    padded = np.pad(mask, 1, constant_values=True)
    rows = padded[:-2] & padded[1:-1] & padded[2:]
    inner: npt.NDArray[np.bool_] = rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]
    return inner


def overlay_mask(frame: Any, mask: Any, size: tuple[int, int]) -> Any:
    """Return a frame with its mask laid over it, in `size`."""
    from PIL import Image

    picture = frame.resize(size).convert("RGBA")
    above = mask_layer(mask.resize(size)).convert("RGBA")
    return Image.alpha_composite(picture, above).convert("RGB")


def masks_strip(seconds: int, width: int, height: int) -> FrameStrip:
    """Return an empty strip for a video of so many seconds and `width`×`height` pixels."""
    size = frame_size(width, height, column_width=_CELL)
    return FrameStrip(seconds, most=_COLUMNS * _ROWS, size=size)


def draw_masks(strip: FrameStrip, seconds: Sequence[MaskedSecond], *, title: str, caption: str) -> bytes:
    """Draw the strip as PNG: rows of overlaid frames and spectrogram, with the share of sounding pixels."""
    rows = list(strip.rows(_COLUMNS))
    height = row_height(strip.size) + _LABEL + _GAP
    width = 2 * MARGIN + _CELL * max(min(len(strip.columns), _COLUMNS), 4)
    canvas, draw = new_canvas(width, HEADING_HEIGHT + height * len(rows))
    if strip.stride > 1:
        caption += f" · a frame every {strip.stride} s"
    y = draw_heading(draw, title, caption, width)
    for row, sound in rows:
        below = draw_row(canvas, draw, (MARGIN, y), row, sound, tick_every=1)
        for index, column in enumerate(row):
            share = seconds[int(column.start)].share
            middle = MARGIN + _CELL * (index + 0.5)
            label = f"{percent(share)} of pixels" if share else "nothing"
            draw_text(draw, (middle, below + 14), label, 14, SOFT, anchor="mm")
        y += height
    return to_png(canvas)
