"""Decoded frames of a clip, functions that choose which frames to decode, and the entry of a decoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..probe import ClipError, MediaInfo

# Maps all presentation times [N] in seconds, ascending, to the indices [M] of the wanted frames.
Choose = Callable[[NDArray[np.float64]], NDArray[np.intp]]

MAX_BYTES = 2 << 30


@dataclass(frozen=True)
class Frames:
    """M frames of one clip as they are shown: upright, with square pixels.

    Attributes:
        images: uint8 [M, H, W, 3], RGB.
        times_seconds: float64 [M], presentation times in seconds of clip time.
        decoder: name of the decoder.

    Raises:
        ValueError: when the shapes do not fit together.
    """

    images: NDArray[np.uint8]
    times_seconds: NDArray[np.float64]
    decoder: str

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[3] != 3 or self.images.dtype != np.uint8:
            raise ValueError(
                f"images must be uint8 [M, H, W, 3], not {self.images.dtype} {self.images.shape}"
            )
        if self.times_seconds.shape != self.images.shape[:1] or self.times_seconds.dtype != np.float64:
            raise ValueError(
                f"times_seconds must be float64 [{len(self.images)}], "
                f"not {self.times_seconds.dtype} {self.times_seconds.shape}"
            )


class ReadFrames(Protocol):
    """Returns the frames of `path` that `choose` picks, or raises `ClipError`. `info` is that of `probe`."""

    def __call__(self, path: Path, choose: Choose, *, info: MediaInfo | None = None) -> Frames: ...


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """An entry of `DECODERS`.

    Attributes:
        read: reads frames; their `decoder` is the name of the entry.
        version: returns the version, which decides bytes and is recorded in `dataset.json`.
        order: `auto` tries decoders with lower numbers first.
        reads_sound: whether it decodes the sound for every choice of video decoder: its version then always
            decides bytes.
        reads_spans: whether its frames are those of clips that are spans of recordings.
    """

    read: ReadFrames
    version: Callable[[], str]
    order: int
    reads_sound: bool = False
    reads_spans: bool = False


def evenly(times: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Return the indices [count] of the frames nearest to `count` times spread over `times` [N], with ends.

    Raises `ValueError` when `count` is less than 1 or there are no times.
    """
    if count < 1:
        raise ValueError(f"count is {count}, at least 1 frame must be chosen")
    return at_seconds(times, np.linspace(times[0], times[-1], count) if len(times) else times)


def at_seconds(times: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the indices [M] of the frames at `times` [N], ascending, nearest to `targets` [M], in seconds.

    Of two equally near frames the earlier one is chosen. Raises `ValueError` when there are no times.
    """
    if len(times) == 0:
        raise ValueError("times is empty, a nearest one needs at least one")
    targets = np.asarray(targets, dtype=np.float64)
    right = np.minimum(np.searchsorted(times, targets), len(times) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(targets - times[left] <= times[right] - targets, left, right).astype(np.intp)


def chosen_indices(choose: Choose, times: NDArray[np.float64]) -> NDArray[np.intp]:
    """Call `choose` and check its result: int [M], M at least 1, each in [0, N). Raises `ValueError`."""
    indices = np.asarray(choose(times))
    if indices.ndim != 1 or len(indices) == 0 or not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(f"choose must return indices [M], not {indices.dtype} {indices.shape}")
    if indices.min() < 0 or indices.max() >= len(times):
        raise ValueError(f"choose returned {indices.min()}..{indices.max()}, there are {len(times)} frames")
    return indices.astype(np.intp)


def check_bytes(count: int, width: int, height: int) -> None:
    """Raise `ClipError('too-large')` when `count` RGB frames would not fit in memory."""
    if count * width * height * 3 > MAX_BYTES:
        raise ClipError(
            "too-large", f"{count} frames of {width}x{height}, at most {MAX_BYTES} bytes are decoded"
        )
