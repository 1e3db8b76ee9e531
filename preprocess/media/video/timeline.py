"""Presentation times of a stream's pictures, read from the packets without decoding them."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..container import open_container, read_only, video_stream
from ..probe import MAX_DURATION_SECONDS, ClipError, DamageError, MediaInfo, VideoFacts, check_coverage
from .kept_packets import KeptPackets

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


@dataclass(frozen=True)
class Scan:
    """The timeline of a file's pictures, and the faults found while its packets were read.

    Attributes:
        timeline: of the packets that are not damaged.
        holes: start and end of each stretch without pictures, in seconds of clip time.
        late_seconds: delay of the first picture that no edit list explains, and of pictures after sound.
        staying_seconds: the longest time that the last picture may be shown where its duration is unknown.
        damaged: the presentation times of damaged packets in clip time; NaN for one without a time.
        failure: the error that ended the reading early; None at the end of the file.
    """

    timeline: Timeline
    holes: tuple[tuple[float, float], ...]
    late_seconds: float
    staying_seconds: float
    damaged: tuple[float, ...]
    failure: Exception | None

    @property
    def end_seconds(self) -> float:
        """End of the last shown picture, in clip time."""
        return float(self.timeline.seconds(self.timeline.end))


def read_timeline(info: MediaInfo, kept: KeptPackets | None = None) -> Timeline:
    """Demux the video stream of `info.path` once. The pictures must cover the claimed duration.

    kept: receives the packets.

    Raises `ClipError`: 'no-video', 'empty', 'truncated', 'unreadable'; `DamageError` for damaged packets.
    """
    scan = scan_timeline(info, kept)
    if len(scan.timeline.visible):
        holes = sum(end - begin for begin, end in scan.holes)
        check_coverage(
            info,
            "picture",
            scan.end_seconds,
            missing_seconds=scan.late_seconds + holes,
            staying_seconds=scan.staying_seconds,
        )
    if scan.damaged:
        raise DamageError("unreadable", f"{len(scan.damaged)} packets of its pictures are damaged")
    if scan.failure is not None:
        raise ClipError("unreadable", f"the container is damaged ({scan.failure})") from scan.failure
    return scan.timeline


def scan_timeline(info: MediaInfo, kept: KeptPackets | None = None) -> Scan:
    """Demux the video stream of `info.path` once, up to its end or the first error.

    kept: receives the packets that are not damaged.

    Raises `ClipError`: 'no-video', 'empty', 'too-large'.
    """
    import av

    failure: Exception | None = None
    pts: list[int] = []
    shown: list[bool] = []
    key: list[bool] = []
    durations: list[int] = []
    dts: list[int] = []
    damaged: list[int] = []
    with open_container(info.path) if kept is None else nullcontext(kept.container) as container:
        stream = require_video(container)
        read_only(stream)
        time_base = Fraction(stream.time_base)
        # AVI stores no presentation times. Those that libavformat makes up are wrong for packed B-frames.
        guessed = container.format.name == "avi"
        try:
            for packet in container.demux(stream):
                if packet.size and packet.is_corrupt:
                    damaged.append(MISSING if packet.pts is None else packet.pts)
                elif packet.size:
                    dts.append(MISSING if packet.dts is None else packet.dts)
                    pts.append(MISSING if guessed or packet.pts is None else packet.pts)
                    shown.append(not packet.is_discard)
                    key.append(packet.is_keyframe)
                    durations.append(packet.duration or 0)
                    if kept is not None:
                        kept.add(packet)
        except av.error.FFmpegError as error:
            failure = error  # the position shows whether the file is cut or damaged
    timeline = _timeline(pts, shown, key, durations, time_base, None if guessed else info.video)
    if len(timeline.pts) == 0 or not timeline.shown.any():
        raise ClipError("empty", "the video stream holds no pictures")
    is_mov = "mov" in info.container.split(",")
    holes: list[tuple[int, int]] = []
    if len(timeline.visible):
        _check_span(timeline)
        if is_mov:
            holes = _holes_between_packets(timeline.pts, np.asarray(dts), np.asarray(durations), time_base)
        elif not guessed:
            holes = _holes_in_rhythm(timeline.visible, time_base)
    known = len(timeline.visible) > 0
    return Scan(
        timeline,
        holes=tuple((float(timeline.seconds(one)), float(timeline.seconds(other))) for one, other in holes),
        late_seconds=info.late_picture_seconds + (_freeze_seconds(timeline) if known else 0.0),
        staying_seconds=0.0 if is_mov else _longest_step_seconds(timeline),
        damaged=tuple(math.nan if at == MISSING else float(timeline.seconds(at)) for at in damaged),
        failure=failure,
    )


def _freeze_seconds(timeline: Timeline) -> float:
    """Return the delay of the first picture, in seconds, that no edit list between two pictures explains."""
    late = int(timeline.visible[0]) - timeline.start
    return float(max(late - _longest_step(timeline), 0) * timeline.time_base)


def _longest_step_seconds(timeline: Timeline) -> float:
    """Return the longest time that the last picture may be shown if the container has no duration for it."""
    return float(_longest_step(timeline) * timeline.time_base)


def _longest_step(timeline: Timeline) -> int:
    return int(np.diff(timeline.visible).max()) if len(timeline.visible) > 1 else 0


def _holes_between_packets(
    pts: NDArray[np.int64], dts: NDArray[np.int64], durations: NDArray[np.int64], time_base: Fraction
) -> list[tuple[int, int]]:
    """Return the holes between packets [P] of a container that stores their durations, from and to a time.

    Their lengths are those of the decoding times. They begin where the latest picture before them ends.
    """
    known = (dts[:-1] != MISSING) & (dts[1:] != MISSING) & (durations[:-1] > 0)
    holes = np.where(known, np.diff(dts) - durations[:-1], 0)
    return _long_holes(np.maximum.accumulate(pts)[:-1] + durations[:-1], holes, time_base)


def _holes_in_rhythm(visible: NDArray[np.int64], time_base: Fraction) -> list[tuple[int, int]]:
    """Return the holes between pictures shown at `visible` [N] if the others have a constant rate.

    Such containers do not distinguish a long picture from a lost one. Where the rate varies, for example
    because repeated pictures are left out, long steps count as long pictures.
    """
    steps = np.diff(visible)
    if len(steps) == 0:
        return []
    usual = float(np.median(steps))
    if usual * time_base > _SLOWEST_RHYTHM_SECONDS:
        return []
    even = np.abs(steps - usual) <= max(_RHYTHM_TOLERANCE * usual, 1.0)
    if float(np.mean(even)) < _RHYTHM_SHARE:
        return []
    return _long_holes(visible[:-1] + round(usual), steps - round(usual), time_base)


def _long_holes(
    begins: NDArray[np.int64], holes: NDArray[np.int64], time_base: Fraction
) -> list[tuple[int, int]]:
    """Return start and end of those `holes` [P], which start at `begins` [P], that are not rounding."""
    long = np.flatnonzero(holes > float(_HOLE_SECONDS / time_base))
    return [(int(begins[place]), int(begins[place] + holes[place])) for place in long]


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
