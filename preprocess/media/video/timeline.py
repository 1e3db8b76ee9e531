"""Presentation times of a stream's pictures, read from the packets without decoding them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..container import open_container, read_only, video_stream
from ..probe import MAX_DURATION_SECONDS, ClipError, DamageError, MediaInfo, VideoFacts, check_coverage

MISSING = np.iinfo(np.int64).min

# Rounded timestamps and one or two missing pictures are not a hole.
_HOLE_SECONDS = Fraction(1, 4)
# A constant rate: this share of the steps has about the usual length; slide shows have none.
_RHYTHM_SHARE = 0.95
_RHYTHM_TOLERANCE = 0.25
_SLOWEST_RHYTHM_SECONDS = 0.2


@dataclass(frozen=True)
class Timeline:
    """The packets [P] of one video stream in the order in which they are decoded.

    pts: int64 [P], presentation times in units of `time_base`; `MISSING` where the container has none.
    shown: bool [P], False before or after what an edit list shows.
    key: bool [P], whether decoding can start there.
    start: int, clip time 0 in units of `time_base`; no later than the first shown picture.
    end: int, the end (open) of the last shown picture, in units of `time_base`.
    """

    pts: NDArray[np.int64]
    shown: NDArray[np.bool_]
    key: NDArray[np.bool_]
    start: int
    end: int
    time_base: Fraction

    @property
    def complete(self) -> bool:
        """True when every shown picture has a presentation time."""
        return bool(np.all(self.pts[self.shown] != MISSING))

    @property
    def edited(self) -> bool:
        """True when an edit list hides some pictures."""
        return not bool(self.shown.all())

    @property
    def open_groups(self) -> bool:
        """True when a picture is decoded after a key picture but shown before it."""
        latest_key = np.maximum.accumulate(np.where(self.key, self.pts, MISSING))
        return bool(np.any(self.shown & (self.pts < latest_key)))

    @cached_property
    def visible(self) -> NDArray[np.int64]:
        """The presentation times of the shown pictures, ascending, each once."""
        return np.unique(self.pts[self.shown & (self.pts != MISSING)])

    def seconds(self, pts: NDArray[np.int64] | int) -> Any:
        """`pts` in clip time."""
        since_start = (np.asarray(pts, dtype=np.int64) - self.start).astype(np.float64)
        return since_start * self.time_base.numerator / self.time_base.denominator

    @property
    def times_seconds(self) -> NDArray[np.float64]:
        """float64 [N], the presentation times of the shown pictures, ascending."""
        return np.asarray(self.seconds(self.visible), dtype=np.float64)


def read_timeline(info: MediaInfo) -> Timeline:
    """Demux the video stream of `info.path` once. The pictures must cover the claimed duration.

    Raises `ClipError`: 'no-video', 'empty', 'truncated', 'unreadable'; `DamageError` for damaged packets.
    """
    import av

    failure: Exception | None = None
    pts: list[int] = []
    shown: list[bool] = []
    key: list[bool] = []
    durations: list[int] = []
    dts: list[int] = []
    damaged = 0
    with open_container(info.path) as container:
        stream = require_video(container)
        read_only(stream)
        time_base = Fraction(stream.time_base)
        # AVI stores no presentation times. Those that libavformat makes up are wrong for packed B-frames.
        guessed = container.format.name == "avi"
        try:
            for packet in container.demux(stream):
                if packet.size and packet.is_corrupt:
                    damaged += 1
                elif packet.size:
                    dts.append(MISSING if packet.dts is None else packet.dts)
                    pts.append(MISSING if guessed or packet.pts is None else packet.pts)
                    shown.append(not packet.is_discard)
                    key.append(packet.is_keyframe)
                    durations.append(packet.duration or 0)
        except av.error.FFmpegError as error:
            failure = error  # the position shows whether the file is cut or damaged
    timeline = _timeline(pts, shown, key, durations, time_base, None if guessed else info.video)
    if len(timeline.pts) == 0 or not timeline.shown.any():
        raise ClipError("empty", "the video stream holds no pictures")
    if len(timeline.visible):
        _check_span(timeline)
        holes = 0.0
        if "mov" in info.container.split(","):
            holes = _holes_seconds(np.asarray(dts), np.asarray(durations), time_base)
        elif not guessed:
            holes = _holes_in_rhythm_seconds(timeline.visible, time_base)
        late = info.late_picture_seconds + _freeze_seconds(timeline)
        check_coverage(
            info,
            "picture",
            float(timeline.seconds(timeline.end)),
            missing_seconds=late + holes,
            staying_seconds=0.0 if "mov" in info.container.split(",") else _longest_step_seconds(timeline),
        )
    if damaged:
        raise DamageError("unreadable", f"{damaged} packets of its pictures are damaged")
    if failure is not None:
        raise ClipError("unreadable", f"the container is damaged ({failure})") from failure
    return timeline


def _freeze_seconds(timeline: Timeline) -> float:
    """Return the delay of the first picture, in seconds, that no edit list between two pictures explains."""
    late = int(timeline.visible[0]) - timeline.start
    return float(max(late - _longest_step(timeline), 0) * timeline.time_base)


def _longest_step_seconds(timeline: Timeline) -> float:
    """Return the longest time that the last picture may be shown if the container has no duration for it."""
    return float(_longest_step(timeline) * timeline.time_base)


def _longest_step(timeline: Timeline) -> int:
    return int(np.diff(timeline.visible).max()) if len(timeline.visible) > 1 else 0


def _holes_seconds(dts: NDArray[np.int64], durations: NDArray[np.int64], time_base: Fraction) -> float:
    """Return the seconds missing between packets [P] of a container that stores their durations."""
    known = (dts[:-1] != MISSING) & (dts[1:] != MISSING) & (durations[:-1] > 0)
    return _sum_holes((np.diff(dts) - durations[:-1])[known], time_base)


def _holes_in_rhythm_seconds(visible: NDArray[np.int64], time_base: Fraction) -> float:
    """Return the seconds missing between pictures shown at `visible` [N] if the others have a constant rate.

    Such containers do not distinguish a long picture from a lost one. Where the rate varies, for example
    because repeated pictures are left out, long steps count as long pictures.
    """
    steps = np.diff(visible)
    if len(steps) == 0:
        return 0.0
    usual = float(np.median(steps))
    if usual * time_base > _SLOWEST_RHYTHM_SECONDS:
        return 0.0
    even = np.abs(steps - usual) <= max(_RHYTHM_TOLERANCE * usual, 1.0)
    if float(np.mean(even)) < _RHYTHM_SHARE:
        return 0.0
    return _sum_holes(steps - round(usual), time_base)


def _sum_holes(holes: NDArray[np.int64], time_base: Fraction) -> float:
    long = holes[holes > float(_HOLE_SECONDS / time_base)]
    return float(int(long.sum()) * time_base)


def _check_span(timeline: Timeline) -> None:
    # In Python's integers: damaged timestamps can lie further apart than int64 reaches.
    span = (timeline.end - timeline.start) * timeline.time_base
    if span > MAX_DURATION_SECONDS:
        raise ClipError(
            "too-large",
            f"its pictures span {float(span):.3g} s, at most {MAX_DURATION_SECONDS:.0f} s is read",
        )


def require_video(container: Any) -> Any:
    """The video stream of an open container; raises `ClipError('no-video')`."""
    stream = video_stream(container)
    if stream is None or not stream.time_base:
        raise ClipError("no-video", "the file has no video stream")
    return stream


def _timeline(
    pts: list[int],
    shown: list[bool],
    key: list[bool],
    durations: list[int],
    time_base: Fraction,
    video: VideoFacts | None,
) -> Timeline:
    times = np.asarray(pts, dtype=np.int64)
    visible = np.asarray(shown, dtype=bool)
    last_duration, first, last = 0, 0, 0
    known = visible & (times != MISSING)
    if known.any():
        ordered = np.unique(times[known])
        first, last = int(ordered[0]), int(ordered[-1])
        gap = int(np.median(np.diff(ordered))) if len(ordered) > 1 else 0
        last_duration = max(gap, int(np.asarray(durations)[known & (times == last)].max()))
        if video is not None and video.start_pts is not None:
            first = min(first, video.start_pts)
    return Timeline(times, visible, np.asarray(key, dtype=bool), first, last + last_duration, time_base)
