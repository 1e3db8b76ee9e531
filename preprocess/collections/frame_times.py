"""Numbers of the frames that AVSBench's preparation scripts take from a video."""

from __future__ import annotations

import math


def last_sixteenth_frames(seconds: int, *, rounded_fps: int, frames_in_file: int) -> tuple[int, ...]:
    """Return the frame numbers, from 0, that stand for the seconds of a clip of S4 or MS3.

    The scripts (OpenNLPLab/AVSBench, `preprocess_ms3.py`) take the last of 16 evenly spaced frames of each
    second s: int(s·r + 15/16·r), for a frame rate r rounded to a whole number; beyond the end, the last
    frame. At 29.97 frames a second the frames therefore drift from time s + 15/16, at which this package
    takes them.

    Args:
        seconds: number of seconds, one frame each.
        rounded_fps: the frame rate, frames per second, rounded.
        frames_in_file: number of frames that can be decoded.

    Raises ValueError for a frame rate or number of frames below 1.
    """
    if rounded_fps < 1 or frames_in_file < 1:
        raise ValueError(
            f"rounded_fps is {rounded_fps}, frames_in_file {frames_in_file}; both must be at least 1"
        )
    wanted = (math.floor(second * rounded_fps + 15 / 16 * rounded_fps) for second in range(seconds))
    return tuple(min(number, frames_in_file - 1) for number in wanted)
