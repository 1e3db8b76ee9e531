"""Sparse decoding with PyAV: only what the chosen frames need is decoded.

The stream is demuxed once for all timestamps. From each group of pictures that holds a chosen frame, the
packets up to the last chosen one are decoded, and pictures that no other refers to are skipped unless they
are chosen themselves (`skip_frame`). The frames are those of a full decode.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..container import check_size, decoding_error, open_container, prepare_decoder, read_only
from ..picture_facts import SCALER_MATRICES, square_size
from ..probe import COVERAGE_TOLERANCE_SECONDS, ClipError, DamageError, MediaInfo, check_coverage, probe
from .frames import Choose, Decoder, Frames, check_bytes, chosen_indices
from .shown import shown_pictures
from .timeline import MISSING, Timeline, read_timeline, require_video

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

NAME = "pyav"

# Decoders that read `skip_frame` at every packet and drop exactly the pictures that nothing refers to. dav1d
# reads it once, when it is opened.
SKIPPING_DECODERS = ("h264", "hevc", "mpeg4", "vp8", "vp9")


@dataclass(frozen=True)
class Plan:
    """What to do with each packet [P], in decoding order.

    decode: bool [P]; restart: bool [P], start afresh here; wanted: bool [P], its picture is a chosen one.
    """

    decode: NDArray[np.bool_]
    restart: NDArray[np.bool_]
    wanted: NDArray[np.bool_]


def read_frames(path: Path, choose: Choose, *, info: MediaInfo | None = None) -> Frames:
    """The frames of `path` that `choose` picks from all its presentation times, upright.

    Raises `ClipError`: those of `probe`, 'no-video', 'truncated', 'too-large'; `DamageError` where a needed
    picture does not decode; `ValueError` when `choose` answers nonsense.
    """
    info = probe(path) if info is None else info
    if info.video is None:
        raise ClipError("no-video", "the file has no video stream")
    timeline = read_timeline(info)
    if timeline.complete:
        found = _sparse(info, timeline, choose)
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


DECODER = Decoder(read=read_frames, version=_version, order=1, reads_sound=True)


def stream_frames(
    info: MediaInfo, timeline: Timeline, numbers: Iterable[int], *, counted: bool
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The frames with `numbers` as they are decoded, upright: (number, uint8 [H, W, 3]), for any length.

    A number is a presentation time in units of the time base, or, `counted`, a place in the order of display,
    for which everything is decoded. Memory does not grow with how many there are.

    Raises `ClipError`: those of `read_frames`; `MissingPictureError` at the end when one did not come.
    """
    converter = _Converter(info)
    missing = set(numbers)
    pictures: Iterable[tuple[int, Any]]
    if counted:
        pictures = enumerate(_decode_all(info))
    else:
        plan = make_plan(timeline, np.asarray(sorted(missing), dtype=np.int64))
        pictures = ((picture.pts, picture) for picture in _decode_planned(info, plan))
    for number, picture in pictures:
        if number in missing:
            missing.discard(number)
            yield number, shown_pictures(converter.rgb(picture)[None], converter.video)[0]
        if not missing:
            return
    raise MissingPictureError("unreadable", f"{len(missing)} of its pictures did not decode")


class MissingPictureError(ClipError):
    """Nothing failed, but a picture that the packets announce was not shown: they have to be counted."""


def make_plan(timeline: Timeline, wanted_pts: NDArray[np.int64]) -> Plan:
    """The fewest packets that yield the pictures shown at `wanted_pts`, each of which `timeline` holds.

    Decoding starts at a key picture that is shown no later than the wanted one: pictures that are decoded
    after a key picture but shown before it (open groups of pictures) need the group before.
    """
    count = len(timeline.pts)
    decode, restart = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    wanted = np.isin(timeline.pts, wanted_pts) & timeline.shown
    keys = np.flatnonzero(timeline.key)
    done = 0  # packets before this one are decided
    for target in np.flatnonzero(wanted):
        if target < done:
            continue
        earlier = keys[(keys <= target) & (timeline.pts[keys] <= timeline.pts[target])]
        start = int(earlier[-1]) if len(earlier) else 0
        if start > done:
            restart[start] = True
        else:
            start = done
        decode[start : target + 1] = True
        done = int(target) + 1
    return Plan(decode, restart, wanted)


def can_skip(codec: str, extradata: bytes | None) -> bool:
    """Whether `skip_frame` leaves all other pictures of the stream as they are.

    HEVC's pictures without references are so within their temporal layer only: the stream must say, in its
    hvcC record (ISO/IEC 14496-15, 8.3.3.1: numTemporalLayers, byte 21), that it has a single layer.
    """
    if codec != "hevc":
        return codec in SKIPPING_DECODERS
    return (
        extradata is not None and len(extradata) > 21 and extradata[0] == 1 and (extradata[21] >> 3) & 7 == 1
    )


def _sparse(info: MediaInfo, timeline: Timeline, choose: Choose) -> Frames | None:
    """None when a chosen picture did not come out although nothing failed (packets that show no picture)."""
    times = timeline.times_seconds
    indices = chosen_indices(choose, times)
    wanted_pts = timeline.visible[np.unique(indices)]
    collector = _Collector(info, wanted_pts)
    plan = make_plan(timeline, wanted_pts)
    for picture in _decode_planned(info, plan):
        collector.take(picture.pts, picture)
    if not collector.complete:
        return None
    return collector.frames(timeline.visible[indices], times[indices])


def _decode_planned(info: MediaInfo, plan: Plan) -> Iterator[Any]:
    import av

    with open_container(info.path) as container:
        stream = require_video(container)
        read_only(stream)
        context = prepare_decoder(stream)
        skips = can_skip(context.codec.canonical_name, context.extradata)
        last = int(np.flatnonzero(plan.decode)[-1])
        index, started = 0, False
        try:
            for packet in container.demux(stream):
                if not packet.size:
                    continue
                if index > last:
                    break
                if plan.decode[index]:
                    if plan.restart[index] and started:
                        yield from _sound(context.decode(None), stream)
                        context.flush_buffers()
                    context.skip_frame = "NONREF" if skips and not plan.wanted[index] else "DEFAULT"
                    yield from _sound(context.decode(packet), stream)
                    started = True
                index += 1
            yield from _sound(context.decode(None), stream)
        except av.error.FFmpegError as error:
            raise _damage(error) from error


def displayed_timeline(info: MediaInfo, timeline: Timeline) -> Timeline:
    """The pictures of `timeline`'s stream in the order in which a full decode shows them, with their times.

    For streams whose packets do not tell. Where the pictures do not either, the average rate spreads them.
    Raises `ClipError`: 'unreadable', 'truncated'.
    """
    pts = np.asarray(
        [MISSING if picture.pts is None else picture.pts for picture in _decode_all(info)], dtype=np.int64
    )
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
    exact = Timeline(times, every, every, start, int(times[-1]) + gap, time_base)
    check_coverage(info, "picture", float(exact.seconds(exact.end)))
    if exact.times_seconds[0] > COVERAGE_TOLERANCE_SECONDS:
        raise ClipError("truncated", f"no picture decodes before {exact.times_seconds[0]:.2f} s")
    return exact


def without_leading_gap(times: NDArray[np.int64], delay: float) -> NDArray[np.int64]:
    """The presentation times [N] of an AVI without what its muxer put in for the delay of the sound.

    FFmpeg's shifts all pictures but the first by the sound's `delay` (in units of `times`), rounded up.
    """
    if len(times) < 3 or delay <= 0:
        return times
    steps = np.diff(times)
    usual = int(np.median(steps[1:]))
    gap = int(steps[0]) - usual
    expected = int(np.ceil(delay / usual)) * usual if usual > 0 else 0
    return np.concatenate([times[:1], times[1:] - gap]) if gap == expected > 0 else times


def _exhaustive(info: MediaInfo, timeline: Timeline, choose: Choose) -> Frames:
    """Decodes all, twice: for the presentation times, then for the frames, which are counted."""
    exact = displayed_timeline(info, timeline)
    indices = chosen_indices(choose, exact.times_seconds)
    collector = _Collector(info, np.unique(indices))
    for index, picture in enumerate(_decode_all(info)):
        collector.take(index, picture)
    if not collector.complete:
        raise ClipError("unreadable", "the same file decodes to fewer pictures the second time")
    return collector.frames(indices, exact.times_seconds[indices])


def _decode_all(info: MediaInfo) -> Iterator[Any]:
    import av

    with open_container(info.path) as container:
        stream = require_video(container)
        read_only(stream)
        context = prepare_decoder(stream)
        try:
            for packet in container.demux(stream):
                yield from _sound(context.decode(packet if packet.size else None), stream)
        except av.error.FFmpegError as error:
            raise _damage(error) from error


def _sound(pictures: list[Any], stream: Any) -> list[Any]:
    """`pictures`; raises `DamageError` when the decoder had to make up parts of one."""
    for picture in pictures:
        if picture.is_corrupt:
            known = picture.pts is not None
            where = f"at {float(picture.pts * stream.time_base):.2f} s" if known else "without a time"
            raise DamageError("unreadable", f"the picture {where} (on the container's clock) is damaged")
    return pictures


def _damage(error: Exception) -> ClipError:
    found = decoding_error(error, "its pictures do not decode")
    return found if found.reason != "unreadable" else DamageError(found.reason, found.message)


class _Collector:
    """Converts the wanted pictures to RGB as they come, and puts them in the order of the request.

    Pictures are told apart by a number: their presentation time, or their place in the order of display.
    """

    def __init__(self, info: MediaInfo, wanted: NDArray[np.int64]) -> None:
        self._rows = {int(number): row for row, number in enumerate(wanted)}
        self._missing = set(self._rows)
        self._images: NDArray[np.uint8] | None = None
        self._converter = _Converter(info)

    @property
    def complete(self) -> bool:
        return not self._missing

    def take(self, number: int | None, picture: Any) -> None:
        """Keeps `picture` when it is wanted. Raises `ClipError` when its size is unlike the others'."""
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

    def frames(self, numbers: NDArray[np.int64], times_seconds: NDArray[np.float64]) -> Frames:
        """The frames with `numbers` [M], each of which was taken."""
        if self._images is None:
            raise ValueError("no picture was taken")
        rows = [self._rows[int(value)] for value in numbers]
        images = shown_pictures(self._images, self._converter.video)
        images = images if rows == list(range(len(images))) else images[rows]
        return Frames(images, times_seconds, NAME)


class _Converter:
    """Converts pictures of one size to RGB, as they are stored."""

    def __init__(self, info: MediaInfo) -> None:
        from av.video.reformatter import VideoReformatter

        if info.video is None:
            raise ClipError("no-video", "the file has no video stream")
        self.video = info.video
        self._matrix = None if info.video.matrix is None else SCALER_MATRICES[info.video.matrix]
        self._reformatter = VideoReformatter()
        self._size: tuple[int, int] | None = None

    def rgb(self, picture: Any) -> NDArray[np.uint8]:
        """uint8 [H, W, 3]. Raises `ClipError` when its size is unlike the others', or beyond what is read."""
        from av.video.reformatter import Interpolation

        width, height = picture.width, picture.height
        if self._size is None:
            check_size(width, height)
            self._size = (width, height)
        if (width, height) != self._size:
            was = f"{self._size[0]}x{self._size[1]}"
            # To others this would be damage that they hide: ffmpeg squashes all to the size of the first.
            raise DamageError("unreadable", f"the picture's size changes from {was} to {width}x{height}")
        # Nothing is scaled. POINT takes the chroma sample as it is, as FFmpeg does by itself for 8-bit
        # pictures; for others it would interpolate, differently in different versions.
        rgb = self._reformatter.reformat(
            picture,
            format="rgb24",
            src_colorspace=self._matrix,
            interpolation=Interpolation.POINT,
            threads=1,
        )
        return np.asarray(rgb.to_ndarray(), dtype=np.uint8)
