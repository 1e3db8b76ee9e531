"""The colours of PASCAL VOC's palette, in which masks of classes are shown and AVSS's masks are drawn."""

from __future__ import annotations

from .drawing import Colour

_BITS = 8


def palette_colour(index: int) -> Colour:
    """Return the colour of class `index`, 0 to 255; that of class 0, the background, is black.

    Bits 0, 1, 2 of the class are bit 7 of red, green and blue, bits 3, 4, 5 bit 6, bits 6 and 7 are bit 5.
    """
    channels = [0, 0, 0]
    for bit in range(_BITS):
        channels[bit % 3] |= (index >> bit & 1) << 7 - bit // 3
    return channels[0], channels[1], channels[2]


def palette_bytes() -> bytes:
    """Return the colours of classes 0 to 255 as the palette of a Pillow image."""
    return bytes(channel for index in range(256) for channel in palette_colour(index))
