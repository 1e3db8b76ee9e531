"""Times of frames that are taken once in every second of a clip."""

from __future__ import annotations

from collections.abc import Mapping

FRAME_OFFSETS_SECONDS: Mapping[str, float] = {"masks": 15 / 16, "middle": 0.5}
"""Value of `frame_times` in the sampling settings to the time of the frame within its second.

Values that are not named here spread the frames over the clip.
"""
