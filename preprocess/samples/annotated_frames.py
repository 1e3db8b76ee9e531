"""Frames of a video at the places of its masks, and the sound around them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..collections.specification import ClipSpecification
from ..media.probe import COVERAGE_TOLERANCE_SECONDS
from ..media.reasons import ClipError
from ..media.video.frames import at_seconds

_LEAST_SECONDS = 1.0  # of sound, where the video ends


def annotated_frames(
    clip: ClipSpecification, times: npt.NDArray[np.float64], seconds: float
) -> npt.NDArray[np.intp]:
    """Return the indices `[M]` of the frames of `clip` among those at `times` `[N]` of a video of `seconds`.

    A frame without a mask that the video does not reach is its last one. Raises ClipError `mask-mismatch` for
    a mask beyond the last frame.
    """
    for place, mask in enumerate(clip.masks):
        if not mask:
            continue
        name = mask.rpartition("/")[2]
        if clip.frame_numbers and clip.frame_numbers[place] >= len(times):
            raise ClipError(
                "mask-mismatch",
                f"mask {name} is of frame {clip.frame_numbers[place]}, the video has {len(times)} frames, "
                "numbered from 0",
            )
        if not clip.frame_numbers and clip.frame_seconds[place] > seconds + COVERAGE_TOLERANCE_SECONDS:
            raise ClipError("mask-mismatch", f"mask {name} is beyond the end of the video at {seconds:.2f} s")
    if clip.frame_numbers:
        return np.minimum(np.array(clip.frame_numbers, dtype=np.intp), len(times) - 1)
    return at_seconds(times, np.array(clip.frame_seconds))


def sound_span(
    clip: ClipSpecification, times: npt.NDArray[np.float64], seconds: float
) -> tuple[float, float, list[str]]:
    """Return start and end of the sound of `clip`, and warnings.

    The sound starts as long before the first frame as the clip does, and lasts as long as the clip, but not
    beyond the end of the video.

    Args:
        clip: with the estimated times of its frames.
        times: `[M]`, the actual times of its frames.
        seconds: length of the video.
    """
    length = (clip.end_seconds or 0.0) - clip.start_seconds
    start = max(float(times[0]) - (clip.frame_seconds[0] - clip.start_seconds), 0.0)
    start = min(start, max(seconds - _LEAST_SECONDS, 0.0))
    end = min(start + length, seconds)
    last = max(float(times[place]) for place, mask in enumerate(clip.masks) if mask)
    if last > end + COVERAGE_TOLERANCE_SECONDS:
        warning = (
            f"its masks are of frames up to {last:.2f} s, its sound ends at {end:.2f} s: give the frame rate "
            "of the video in videos.csv"
        )
        return start, end, [warning]
    return start, end, []
