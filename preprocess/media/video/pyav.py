"""Sparse decoding with PyAV: only what the chosen frames need is decoded.

The stream is demuxed once for all timestamps. From each group of pictures that holds a chosen frame, the
packets up to the last chosen one are decoded, and pictures that no other refers to are skipped unless they
are chosen themselves (`skip_frame`). The frames are those of a full decode.
"""

from __future__ import annotations

from contextlib import nullcontext
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..container import decoding_error, open_container, prepare_decoder, read_only
from ..probe import COVERAGE_TOLERANCE_SECONDS, ClipError, DamageError, MediaInfo, check_coverage, probe
from .conversion import Collector, Converter
from .decoding_plan import Plan, can_skip, make_plan
from .frames import Choose, Decoder, Frames, chosen_indices
from .kept_packets import KeptPackets
from .seeking import packets_from
from .shown import shown_pictures
from .timeline import MISSING, Timeline, read_timeline, require_video

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

NAME = "pyav"


def read_frames(path: Path, choose: Choose, *, info: MediaInfo | None = None) -> Frames:
    """Return the frames of `path` that `choose` picks from all presentation times, upright.

    Raises `ClipError`: those of `probe`, 'no-video', 'truncated', 'too-large'; `DamageError` where a needed
    picture does not decode; `ValueError` for invalid indices from `choose`.
    """
    info = probe(path) if info is None else info
    if info.video is None:
        raise ClipError("no-video", "the file has no video stream")
    with KeptPackets(info.path) as kept:
        timeline = read_timeline(info, kept)
        if timeline.complete:
            found = _sparse(info, timeline, choose, kept)
            if found is not None:
                return found
    return _exhaustive(info, timeline, choose)


def _version() -> str:
    """Return the version of PyAV and of its libraries that decode pictures and sound, and resample sound."""
    import av

    libraries = ", ".join(
        f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in ("libavcodec", "libswresample")
    )
    return f"{av.__version__} ({libraries})"


DECODER = Decoder(read=read_frames, version=_version, order=1, reads_sound=True, reads_spans=True)


def stream_frames(
    info: MediaInfo, timeline: Timeline, numbers: Iterable[int], *, counted: bool
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the frames with `numbers` as they are decoded, upright: (number, uint8 [H, W, 3]).

    A number is a presentation time in units of the time base, or, if `counted`, a position in the order of
    display, for which everything is decoded. Memory does not grow with the number of frames.

    Raises:
        ClipError: those of `read_frames`; at the end `MissingPictureError` when a picture is missing.
    """
    converter = Converter(info)
    missing = set(numbers)
    pictures: Iterable[tuple[int, Any]]
    if counted:
        pictures = enumerate(decode_all(info))
    else:
        plan = make_plan(timeline, np.asarray(sorted(missing), dtype=np.int64))
        pictures = ((picture.pts, picture) for picture in decode_planned(info, plan))
    for number, picture in pictures:
        if number in missing:
            missing.discard(number)
            yield number, shown_pictures(converter.rgb(picture)[None], converter.video)[0]
        if not missing:
            return
    raise MissingPictureError("unreadable", f"{len(missing)} of its pictures did not decode")


class MissingPictureError(ClipError):
    """A picture that the packets announce was not shown, without an error: pictures have to be counted."""


def _sparse(info: MediaInfo, timeline: Timeline, choose: Choose, kept: KeptPackets) -> Frames | None:
    """Decode only what is needed; None when a chosen picture is missing without an error."""
    times = timeline.times_seconds
    indices = chosen_indices(choose, times)
    wanted_pts = timeline.visible[np.unique(indices)]
    collector = Collector(info, wanted_pts)
    plan = make_plan(timeline, wanted_pts)
    for picture in decode_planned(info, plan, kept=kept):
        collector.collect(picture.pts, picture)
    if not collector.complete:
        return None
    return collector.frames(timeline.visible[indices], times[indices], decoder=NAME)


def decode_planned(
    info: MediaInfo,
    plan: Plan,
    timeline: Timeline | None = None,
    *,
    seek: bool = False,
    kept: KeptPackets | None = None,
) -> Iterator[Any]:
    """Decode the planned packets and yield their pictures.

    With `timeline`, damage outside the plan is passed over, and the packets are compared with it; `seek` goes
    to the first planned packet at once. With `kept`, its packets are not read again. Raises `DamageError`,
    and `LostPlaceError` of `packets_from`.
    """
    import av

    ready = None if kept is None else kept.packets
    opened = open_container(info.path) if kept is None or ready is None else nullcontext(kept.container)
    with opened as container:
        stream = require_video(container)
        read_only(stream)
        context = prepare_decoder(stream)
        skips = can_skip(context.codec.canonical_name, context.extradata)
        planned = np.flatnonzero(plan.decode)
        last = int(planned[-1])
        started = False
        packets: Iterator[tuple[int, Any]]
        try:
            if ready is not None:
                packets = enumerate(ready)
            elif timeline is None:
                packets = enumerate(_whole_packets(container.demux(stream)))
            else:
                packets = packets_from(container, stream, timeline, int(planned[0]), seek=seek)
            for index, packet in packets:
                if index > last:
                    break
                if plan.decode[index]:
                    if plan.restart[index] and started:
                        yield from _undamaged(context.decode(None), stream)
                        context.flush_buffers()
                    context.skip_frame = "NONREF" if skips and not plan.wanted[index] else "DEFAULT"
                    yield from _undamaged(context.decode(packet), stream)
                    started = True
            yield from _undamaged(context.decode(None), stream)
        except av.error.FFmpegError as error:
            raise _damage(error) from error


def _whole_packets(packets: Iterable[Any]) -> Iterator[Any]:
    return (packet for packet in packets if packet.size)


def displayed_timeline(info: MediaInfo, timeline: Timeline) -> Timeline:
    """Return the timeline of all pictures as a full decode shows them, for packets without times.

    Pictures without times are spread by the average rate. Raises `ClipError`: 'unreadable', 'truncated'.
    """
    exact = timeline_of(info, timeline, (picture.pts for picture in decode_all(info)))
    check_coverage(info, "picture", float(exact.seconds(exact.end)))
    if exact.times_seconds[0] > COVERAGE_TOLERANCE_SECONDS:
        raise ClipError("truncated", f"no picture decodes before {exact.times_seconds[0]:.2f} s")
    return exact


def timeline_of(info: MediaInfo, timeline: Timeline, decoded: Iterable[int | None]) -> Timeline:
    """Return the timeline of pictures with the `decoded` presentation times, in the order of display.

    timeline: of the packets. Raises `ClipError`: 'unreadable' without any picture.
    """
    pts = np.asarray([MISSING if time is None else time for time in decoded], dtype=np.int64)
    if len(pts) == 0:
        raise ClipError("unreadable", "no picture decodes")
    # Decoders show pictures in order; the times they attach can be out of order (packed B-frames in AVI).
    times, time_base = np.sort(pts), timeline.time_base
    if times[0] == MISSING or len(np.unique(times)) < len(times):
        rate = info.video.fps_average if info.video else None
        if not rate:
            raise ClipError("unreadable", "its pictures have no presentation times, and no rate")
        times, time_base = np.arange(len(pts), dtype=np.int64), 1 / Fraction(rate).limit_denominator(1001)
    if info.container == "avi" and info.audio is not None:
        times = without_leading_gap(times, info.audio.delay_seconds / float(time_base))
    gap = int(np.median(np.diff(times))) if len(times) > 1 else 0
    every = np.ones(len(times), dtype=bool)
    # The first pictures may need others from before the file was cut. Their time is still the clip's.
    start = timeline.start if timeline.complete else int(times[0])
    return Timeline(times, every, every, start, int(times[-1]) + gap, time_base)


def without_leading_gap(times: NDArray[np.int64], delay: float) -> NDArray[np.int64]:
    """Return the presentation times [N] of an AVI without the gap that its muxer added for late sound.

    FFmpeg's muxer shifts all pictures but the first by the sound's `delay` (in units of `times`), rounded up.
    """
    if len(times) < 3 or delay <= 0:
        return times
    steps = np.diff(times)
    usual = int(np.median(steps[1:]))
    gap = int(steps[0]) - usual
    expected = int(np.ceil(delay / usual)) * usual if usual > 0 else 0
    return np.concatenate([times[:1], times[1:] - gap]) if gap == expected > 0 else times


def _exhaustive(info: MediaInfo, timeline: Timeline, choose: Choose) -> Frames:
    """Decode all pictures twice: for the presentation times, then for the frames, which are counted."""
    exact = displayed_timeline(info, timeline)
    indices = chosen_indices(choose, exact.times_seconds)
    collector = Collector(info, np.unique(indices))
    for index, picture in enumerate(decode_all(info)):
        collector.collect(index, picture)
    if not collector.complete:
        raise ClipError("unreadable", "the same file decodes to fewer pictures the second time")
    return collector.frames(indices, exact.times_seconds[indices], decoder=NAME)


def decode_all(info: MediaInfo) -> Iterator[Any]:
    """Yield every picture in the order of display. Raises `DamageError` at the first damage."""
    import av

    with open_container(info.path) as container:
        stream = require_video(container)
        read_only(stream)
        context = prepare_decoder(stream)
        try:
            for packet in container.demux(stream):
                yield from _undamaged(context.decode(packet if packet.size else None), stream)
        except av.error.FFmpegError as error:
            raise _damage(error) from error


def _undamaged(pictures: list[Any], stream: Any) -> list[Any]:
    """Return `pictures`. Raises `DamageError` when the decoder had to conceal damage in one of them."""
    for picture in pictures:
        if picture.is_corrupt:
            known = picture.pts is not None
            where = f"at {float(picture.pts * stream.time_base):.2f} s" if known else "without a time"
            raise DamageError("unreadable", f"the picture {where} (on the container's clock) is damaged")
    return pictures


def _damage(error: Exception) -> ClipError:
    found = decoding_error(error, "its pictures do not decode")
    return found if found.reason != "unreadable" else DamageError(found.reason, found.message)
