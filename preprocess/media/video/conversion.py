"""Decoded pictures of PyAV to frames: conversion to RGB, in the order of the request."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..container import check_size
from ..picture_facts import SCALER_MATRICES, square_size
from ..probe import ClipError, DamageError, MediaInfo
from .frames import Frames, check_bytes
from .shown import shown_pictures


class Collector:
    """Converts wanted pictures to RGB as they are decoded, and returns them in the order of the request.

    A number identifies a picture: its presentation time, or its position in the order of display.
    """

    def __init__(self, info: MediaInfo, wanted: NDArray[np.int64]) -> None:
        self._rows = {int(number): row for row, number in enumerate(wanted)}
        self._missing = set(self._rows)
        self._images: NDArray[np.uint8] | None = None
        self._converter = Converter(info)

    @property
    def complete(self) -> bool:
        return not self._missing

    def collect(self, number: int | None, picture: Any) -> None:
        """Convert `picture` if it is wanted. Raises `ClipError` when its size differs from the others."""
        if number not in self._missing:
            return
        self._missing.discard(number)
        if self._images is None:
            video = self._converter.video
            size = square_size(picture.width, picture.height, video.pixel_aspect, video.orientation)
            check_bytes(len(self._rows), *size)
        pixels = self._converter.rgb(picture)
        if self._images is None:
            self._images = np.empty((len(self._rows), *pixels.shape), dtype=np.uint8)
        self._images[self._rows[number]] = pixels

    def frames(
        self, numbers: NDArray[np.int64], times_seconds: NDArray[np.float64], *, decoder: str
    ) -> Frames:
        """Return the frames with `numbers` [M], each of which was collected."""
        if self._images is None:
            raise ValueError("no picture was collected")
        rows = [self._rows[int(value)] for value in numbers]
        images = shown_pictures(self._images, self._converter.video)
        images = images if rows == list(range(len(images))) else images[rows]
        return Frames(images, times_seconds, decoder)


class Converter:
    """Converts stored pictures of one size to RGB."""

    def __init__(self, info: MediaInfo) -> None:
        from av.video.reformatter import VideoReformatter

        if info.video is None:
            raise ClipError("no-video", "the file has no video stream")
        self.video = info.video
        self._matrix = None if info.video.matrix is None else SCALER_MATRICES[info.video.matrix]
        self._reformatter = VideoReformatter()
        self._size: tuple[int, int] | None = None

    def rgb(self, picture: Any) -> NDArray[np.uint8]:
        """Return uint8 [H, W, 3]. Raises `ClipError` for a size unlike the others or too large."""
        from av.video.reformatter import Interpolation

        width, height = picture.width, picture.height
        if self._size is None:
            check_size(width, height)
            self._size = (width, height)
        if (width, height) != self._size:
            was = f"{self._size[0]}x{self._size[1]}"
            # Other decoders would hide this: ffmpeg resizes all pictures to the size of the first.
            raise DamageError("unreadable", f"the picture's size changes from {was} to {width}x{height}")
        # Nothing is scaled. POINT uses the chroma samples as they are, which is FFmpeg's default for 8-bit
        # pictures; for others it would interpolate, differently in different versions.
        rgb = self._reformatter.reformat(
            picture,
            format="rgb24",
            src_colorspace=self._matrix,
            interpolation=Interpolation.POINT,
            threads=1,
        )
        return np.asarray(rgb.to_ndarray(), dtype=np.uint8)
