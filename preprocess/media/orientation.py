"""The eight orientations in which a picture can be stored: turned by right angles, mirrored, or both."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MATRIX = struct.Struct("=9i")  # rows of three; 16.16 fixed point but for the third column


@dataclass(frozen=True)
class Orientation:
    """The steps, in this order, that set a stored picture upright.

    Attributes:
        transpose: exchange rows and columns.
        flip_horizontal: exchange left and right.
        flip_vertical: exchange top and bottom.
    """

    transpose: bool = False
    flip_horizontal: bool = False
    flip_vertical: bool = False

    @classmethod
    def from_display_matrix(cls, matrix: bytes | None) -> Orientation:
        """Read FFmpeg's display matrix (libavutil/display.h, ISO/IEC 14496-12, 6.2.2); none is upright.

        A stored point (p, q) is shown at (a p + c q + x, b p + d q + y). Angles between the right ones are
        rounded; translation, scale and perspective do not matter.
        """
        if matrix is None:
            return cls()
        a, b, _, c, d, *_ = _MATRIX.unpack(matrix)
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, flip_horizontal=a < 0, flip_vertical=d < 0)
        return cls(True, flip_horizontal=c < 0, flip_vertical=b < 0)

    @property
    def upright(self) -> bool:
        """True when pictures are stored as they are shown."""
        return self == Orientation()

    def apply(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Set `images` [M, H, W, 3] upright: [M, H, W, 3], or [M, W, H, 3] when they are transposed."""
        if self.transpose:
            images = images.swapaxes(1, 2)
        if self.flip_horizontal:
            images = images[:, :, ::-1]
        if self.flip_vertical:
            images = images[:, ::-1]
        return np.ascontiguousarray(images)

    def ffmpeg_filters(self) -> tuple[str, ...]:
        """Return the filters of FFmpeg that do the same."""
        steps = {
            "transpose=cclock_flip": self.transpose,
            "hflip": self.flip_horizontal,
            "vflip": self.flip_vertical,
        }
        return tuple(name for name, wanted in steps.items() if wanted)

    def __str__(self) -> str:
        """Return the steps for a message."""
        return ", ".join(name.partition("=")[0] for name in self.ffmpeg_filters()) or "upright"
