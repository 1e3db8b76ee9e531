"""Statistics of a clip for the manifest: of the loudness of its sound, and the motion of its frames.

Sums are of integers, so that the numbers do not depend on the processor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...shards.schema import ClipStatistics
from ..media.audio import SAMPLE_RATE_HZ

LEAST_LOUDNESS_DB = -100.0
SILENT_DB = -60.0
_BLOCK_SAMPLES = SAMPLE_RATE_HZ // 10
_FULL_SCALE = 1 << 20
_MOST_SUMMED = 1 << 20  # samples, twice full scale each without their mean: squares of 62 bits
_WHITE = 255


def clip_statistics(waveform: npt.NDArray[np.float32], frames: Sequence[Any]) -> ClipStatistics:
    """Return the statistics of a mono waveform `[n]`, 16 kHz, and of frames of one size (Pillow images)."""
    loudness, silence = sound_statistics(waveform)
    luma = np.stack([np.asarray(frame.convert("L")) for frame in frames])
    steps = frame_steps(luma)
    return ClipStatistics(
        loudness_db=loudness,
        silence=silence,
        motion=round(sum(steps) / len(steps) / _WHITE, 6) if steps else None,
        brightness=round(int(luma.sum(dtype=np.int64)) / luma.size / _WHITE, 6),
        sharpness=round(sum(map(sharpness, luma)) / len(luma), 2),
        still=max(steps) < 1 if steps else None,
        mute=silence == 1,
    )


def sound_statistics(waveform: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return the loudness of a waveform `[n]` in dBFS, and the share of its blocks of 0.1 s that are silent.

    The loudness is the root mean square of the waveform without its mean, at least `LEAST_LOUDNESS_DB`; a
    block is silent below `SILENT_DB`. A rest that is shorter than a block counts as loudness alone.
    """
    samples = np.rint(np.clip(waveform.astype(np.float64), -1, 1) * _FULL_SCALE).astype(np.int64)
    samples -= round(int(samples.sum()) / len(samples))
    whole = samples[: max(len(samples) // _BLOCK_SAMPLES, 1) * _BLOCK_SAMPLES]
    blocks = whole.reshape(-1, min(_BLOCK_SAMPLES, len(whole)))
    squares = np.square(blocks).sum(axis=1).tolist()
    silent = sum(_decibels(each, blocks.shape[1]) < SILENT_DB for each in squares)
    parts = np.array_split(samples, 1 + len(samples) // _MOST_SUMMED)
    loudness = _decibels(sum(int(np.square(part).sum()) for part in parts), len(samples))
    return round(loudness, 2), round(silent / len(blocks), 4)


def _decibels(squares: int, count: int) -> float:
    """Return the root mean square of `count` samples in dBFS from the sum of their squares."""
    if squares == 0:
        return LEAST_LOUDNESS_DB
    return max(10 * math.log10(squares / count / _FULL_SCALE**2), LEAST_LOUDNESS_DB)


def frame_steps(luma: npt.NDArray[np.uint8]) -> list[float]:
    """Return the mean absolute differences, 0 to 255, of consecutive frames of `[M, H, W]`."""
    pairs = zip(luma[:-1].astype(np.int16), luma[1:].astype(np.int16), strict=True)
    return [int(np.abs(after - before).sum(dtype=np.int64)) / before.size for before, after in pairs]


def sharpness(luma: npt.NDArray[np.uint8]) -> float:
    """Return the variance of the Laplacian of a frame `[H, W]` over its inner pixels.

    The kernel is that of the four neighbours (Pech-Pacheco et al., "Diatom autofocusing in brightfield
    microscopy", 2000).
    """
    pixels = luma.astype(np.int32)
    laplacian = (
        pixels[:-2, 1:-1] + pixels[2:, 1:-1] + pixels[1:-1, :-2] + pixels[1:-1, 2:] - 4 * pixels[1:-1, 1:-1]
    )
    total, squares = int(laplacian.sum(dtype=np.int64)), int(np.square(laplacian).sum(dtype=np.int64))
    return (laplacian.size * squares - total * total) / laplacian.size**2
