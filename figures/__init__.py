"""Parts of figures that the pictures of `predict` and the pages of `pages` share.

Numbers as text, colours of classes, spectrograms, strips of frames, and the text around them. Importing this
package loads the standard library only.

>>> from stgcma.figures import percent
>>> percent(0.814, 1)
'81.4 %'
"""

from __future__ import annotations

from .class_colours import class_colour, class_hue, draw_chip
from .class_palette import palette_bytes, palette_colour
from .drawing import (
    Colour,
    draw_heading,
    draw_text,
    new_canvas,
    open_drawn,
    shorten_text,
    text_width,
    to_png,
    wrap_text,
)
from .frame_strips import Column, FrameStrip, draw_row, frame_size, join_frames, row_height
from .numbers import binary_size, clock, duration, mebibytes, number, percent, short_duration
from .spectrograms import spectrogram

__all__ = [
    "Colour",
    "Column",
    "FrameStrip",
    "binary_size",
    "class_colour",
    "class_hue",
    "clock",
    "draw_chip",
    "draw_heading",
    "draw_row",
    "draw_text",
    "duration",
    "frame_size",
    "join_frames",
    "mebibytes",
    "new_canvas",
    "number",
    "open_drawn",
    "palette_bytes",
    "palette_colour",
    "percent",
    "row_height",
    "short_duration",
    "shorten_text",
    "spectrogram",
    "text_width",
    "to_png",
    "wrap_text",
]
