"""Masks of AVS as pictures: on frames, as layers for a video, and as a strip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..figures import (
    Colour,
    FrameStrip,
    draw_chip,
    draw_heading,
    draw_row,
    draw_text,
    frame_size,
    new_canvas,
    row_height,
    shorten_text,
    text_width,
    to_png,
)
from ..figures.drawing import HEADING_HEIGHT, MARGIN, MASK, SOFT

_COLUMNS, _ROWS = 10, 12
_CELL, _LABEL, _GAP = 152, 26, 24
_CHIP, _LINE = 16, 26
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


def overlay_layer(frame: Any, layer: Any, size: tuple[int, int]) -> Any:
    """Return a frame in `size` with the transparent picture `layer`, of that size, laid over it."""
    from PIL import Image

    picture = frame.resize(size).convert("RGBA")
    return Image.alpha_composite(picture, layer.convert("RGBA")).convert("RGB")


def masks_strip(seconds: int, width: int, height: int) -> FrameStrip:
    """Return an empty strip for a video of so many seconds and `width`×`height` pixels."""
    size = frame_size(width, height, column_width=_CELL)
    return FrameStrip(seconds, most=_COLUMNS * _ROWS, size=size)


def draw_masks(
    strip: FrameStrip,
    labels: Sequence[str],
    *,
    title: str,
    caption: str,
    legend: Sequence[tuple[Colour, str]] = (),
) -> bytes:
    """Draw the strip as PNG: rows of overlaid frames and spectrogram, with a label for each column.

    Args:
        strip: the frames.
        labels: of every second of the video.
        title: the heading.
        caption: below it.
        legend: colours with their names, drawn under the rows.
    """
    rows = list(strip.rows(_COLUMNS))
    height = row_height(strip.size) + _LABEL + _GAP
    width = 2 * MARGIN + _CELL * max(min(len(strip.columns), _COLUMNS), 4)
    lines = _legend_lines(legend, width)
    canvas, draw = new_canvas(width, HEADING_HEIGHT + height * len(rows) + _LINE * len(lines))
    if strip.stride > 1:
        caption += f" · a frame every {strip.stride} s"
    y = draw_heading(draw, title, caption, width)
    for row, sound in rows:
        below = draw_row(canvas, draw, (MARGIN, y), row, sound, tick_every=1)
        for index, column in enumerate(row):
            middle = MARGIN + _CELL * (index + 0.5)
            label = shorten_text(labels[int(column.start)], 14, _CELL - 4)
            draw_text(draw, (middle, below + 14), label, 14, SOFT, anchor="mm")
        y += height
    for line in lines:
        for x, colour, name in line:
            draw_chip(draw, (x, y, x + _CHIP, y + _CHIP), colour)
            draw_text(draw, (x + _CHIP + 6, y + _CHIP / 2), name, 14, SOFT, anchor="lm")
        y += _LINE
    return to_png(canvas)


def _legend_lines(legend: Sequence[tuple[Colour, str]], width: int) -> list[list[tuple[int, Colour, str]]]:
    """Return the entries of a legend in lines of at most `width` pixels, each with its x."""
    lines: list[list[tuple[int, Colour, str]]] = []
    x = width
    for colour, name in legend:
        needed = round(_CHIP + 6 + text_width(name, 14) + 24)
        if x + needed > width - MARGIN:
            lines.append([])
            x = MARGIN
        lines[-1].append((x, colour, name))
        x += needed
    return lines
