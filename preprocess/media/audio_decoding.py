"""Decoding the sound of a file with PyAV's own FFmpeg libraries, through a chain of its filters."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .container import decoding_error, open_container, prepare_decoder, read_only
from .cpu_features import common_features
from .reasons import ClipError, DamageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# FFmpeg's audio filters, each as its name and arguments.
FilterChain = tuple[tuple[str, str], ...]
# Receives the next samples of a sound: float32 [n], which it may keep.
TakeSamples = Callable[[NDArray[np.float32]], None]

# Emptying the filters ends with an exception, so it is not done for every frame.
_FRAMES_PER_PULL = 64
_SAMPLES_PER_PULL = 16384
# Shorter gaps come from rounded timestamps and drifting clocks; aresample fills longer ones.
_GAP_SECONDS = 0.1
_BEYOND_COUNTING = 1 << 62  # never the time of a sample; FFmpeg's are 64 bits wide


@dataclass(frozen=True)
class DecodedSound:
    """Summary of a decoded audio stream.

    Attributes:
        samples: their number.
        spans: start and end of each stretch of sound, in seconds of the container's clock, in order.
        failure: the first error, or None.
        damaged: start and end of each stretch that failed to decode, in seconds of the container's clock.
    """

    samples: int
    spans: tuple[tuple[float, float], ...]
    failure: ClipError | None
    damaged: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class _Fault:
    """An error, and the start and end of what it concerns, in seconds of the container's clock."""

    error: ClipError
    begin: float
    end: float


def decode_sound(
    path: Path, number: int, filters: Callable[[int, str], FilterChain], take: TakeSamples
) -> DecodedSound:
    """Pass the sound stream `number` of `path` through `filters`, and the result to `take`, part by part.

    number: its place among the sound streams, from 0.
    filters: from the number of a sample, counted in clip time at the stream's rate, and FFmpeg's name of the
        channels' layout, the filters that give all from there on. They get times on the container's clock, in
        samples, and end in mono float32. They are asked for 0, and again when the stream changes its rate or
        its channels.

    After damage the rest is still decoded, because the length of the sound shows the kind of damage.
    Raises `ClipError`: those of `open_container`, 'no-audio', 'out-of-memory', and 'unreadable' for a codec
    that PyAV has no decoder for.
    """
    import av

    faults: list[_Fault] = []
    with common_features(), open_container(path) as container, _every_error():
        if number >= len(container.streams.audio):
            raise ClipError("no-audio", "the file has no such audio stream")
        stream = container.streams.audio[number]
        sound = _Sound(filters, Fraction(stream.time_base), take)
        frames = _frames(container, stream, faults)
        try:
            while not sound.complete and (frame := next(frames, None)):
                sound.take(frame)
            sound.finish()
            return DecodedSound(
                sound.samples,
                tuple(sound.spans),
                faults[0].error if faults else None,
                tuple((fault.begin, fault.end) for fault in faults),
            )
        except av.error.FFmpegError as error:
            raise decoding_error(error, "its sound cannot be resampled") from error


def _frames(container: Any, stream: Any, faults: list[_Fault]) -> Iterator[Any]:
    """Decode the stream; append every decoding error and every sign of damage to `faults`."""
    import av

    read_only(stream)
    context = prepare_decoder(stream)
    packets = container.demux(stream)
    # Exact quotients of integers: rounded once, as a fraction is, and much faster.
    units, seconds = stream.time_base.numerator, stream.time_base.denominator
    more = True
    begin = end = -math.inf  # of the packet
    while more:
        frames: list[Any] = []
        is_read = False
        try:
            packet: Any = next(packets, None)  # after an error there are no more
            is_read, more = True, packet is not None
            if more and packet.pts is not None:
                begin = packet.pts * units / seconds
                end = begin + (packet.duration or 0) * units / seconds
            else:
                begin = end
            if not more or packet.size:
                frames = context.decode(packet)
                damaged = more and packet.is_corrupt
                for frame in frames:
                    damaged = damaged or frame.is_corrupt
                if damaged:
                    error = DamageError("unreadable", "its sound does not decode (a part of it is damaged)")
                    faults.append(_Fault(error, begin, end))
        except av.error.FFmpegError as error:
            found = decoding_error(error, "its sound does not decode")
            if found.reason != "unreadable":
                raise found from error
            # An error of the container ends the reading, so it concerns all that follows.
            first, last = (begin, end if more else math.inf) if is_read else (end, math.inf)
            faults.append(_Fault(DamageError(found.reason, found.message), first, last))
        yield from frames


@contextlib.contextmanager
def _every_error() -> Iterator[None]:
    """Let PyAV raise an error also for a packet that has already given a frame.

    PyAV 18.1 hides it: `CodecContext.decode` catches its `InvalidDataError`. The rest of the packet after a
    damaged AAC frame is decoded as another frame and fails, so the damage would be hidden with it.
    """
    from av.codec import context
    from av.error import InvalidDataError

    caught = vars(context)
    caught["InvalidDataError"] = ()  # catches nothing
    try:
        yield
    finally:
        caught["InvalidDataError"] = InvalidDataError


class _Sound:
    """Filter for decoded frames that passes the samples to `take`."""

    def __init__(
        self, filters: Callable[[int, str], FilterChain], time_base: Fraction, take: TakeSamples
    ) -> None:
        self.complete = False  # whether the filters need no more frames
        self.samples = 0  # of the output
        self.spans: list[tuple[float, float]] = []
        self._filters = filters
        self._give = take
        self._time_base = time_base
        self._shape: tuple[int, str, str] | None = None
        self._graph: Any = None
        self._source: Any = None
        self._sink: Any = None
        self._waiting = 0
        self._last: Any = None  # a frame held back until the next one is there
        self._end: int | None = None  # of the frame before it, in samples
        self._seconds = 0.0  # of the output

    def take(self, frame: Any) -> None:
        """Filter a decoded frame once the next one is there."""
        if self._last is not None:
            self._push(self._last)
        self._last = frame

    def finish(self) -> None:
        """Pass on the remaining samples."""
        if self._last is not None:
            self._push(without_padding(self._last, self._time_base))
        self._end_graph()

    def _push(self, frame: Any) -> None:
        shape = (frame.sample_rate, frame.format.name, frame.layout.name)
        if shape != self._shape:
            self._start_graph(shape)
        start = self._place(frame.pts, frame.sample_rate)
        self._end = start + frame.samples
        if abs(start) > _BEYOND_COUNTING:
            return
        self._note(start / frame.sample_rate, self._end / frame.sample_rate)
        frame.pts = start
        try:
            self._source.push(frame)
        except EOFError:
            self.complete = True
        self._waiting += 1
        if self._waiting == _FRAMES_PER_PULL:
            self._pull()

    def _note(self, begin: float, end: float) -> None:
        if self.spans and begin - self.spans[-1][1] <= _GAP_SECONDS:
            first, last = self.spans[-1]
            self.spans[-1] = first, max(last, end)
        else:
            self.spans.append((begin, end))

    def _place(self, pts: int | None, rate_hz: int) -> int:
        """Return the start of a frame in samples: the end of the frame before, where the timestamp agrees.

        Containers round timestamps (Matroska to 1 ms); used as they are, the sound would jump back and forth.
        FFmpeg's command line does the same: av_rescale_delta() in libavutil/mathematics.c.
        """
        if pts is None:
            return self._end or 0
        n, d = self._time_base.numerator * rate_hz, self._time_base.denominator  # samples in a unit of `pts`
        follows = self._end
        if follows is not None and n > d and pts <= -(-follows * d // n):
            earliest, latest = (2 * pts - 1) * n // (2 * d), -(-(2 * pts + 1) * n // (2 * d))
            if 2 * earliest - latest <= follows <= 2 * latest - earliest:
                return min(max(follows, earliest), latest)
        return (2 * pts * n + d) // (2 * d)

    def _start_graph(self, shape: tuple[int, str, str]) -> None:
        from av.filter import Graph

        self._end_graph()
        rate_hz, sample_format, layout = shape
        if self._end is not None and self._shape is not None:
            self._end = self._end * rate_hz // self._shape[0]
        self._shape, self.complete = shape, False
        graph = Graph()
        graph.threads = 1  # none of these filters uses more, but each graph would start them
        self._source = graph.add_abuffer(
            sample_rate=rate_hz, format=sample_format, layout=layout, time_base=Fraction(1, rate_hz)
        )
        first = round(self._seconds * rate_hz)
        chain = [graph.add(*filtering) for filtering in self._filters(first, layout)]
        self._sink = graph.add("abuffersink")
        graph.link_nodes(self._source, *chain, self._sink).configure()
        graph.set_audio_frame_size(_SAMPLES_PER_PULL)
        self._graph = graph

    def _end_graph(self) -> None:
        if self._graph is not None and not self.complete:
            self._source.push(None)
            self._pull()
        self._graph = None

    def _pull(self) -> None:
        self._waiting = 0
        while True:
            try:
                frame = self._sink.pull()
            except BlockingIOError:
                return
            except EOFError:
                self.complete = True
                return
            samples = np.frombuffer(frame.planes[0], dtype=np.float32, count=frame.samples)
            self._give(samples.copy())
            self.samples += frame.samples
            self._seconds += frame.samples / frame.sample_rate


def without_padding(frame: Any, time_base: Fraction) -> Any:
    """Return the last frame of a stream without its encoder's padding.

    AAC frames hold 1024 samples. MP4 states how much of the last one is sound; FFmpeg uses it since 9.0.
    """
    from av.filter import Graph

    # One more sample than claimed, in case the claim is rounded.
    kept = math.ceil((frame.duration + 1) * time_base * frame.sample_rate) - 1
    if not (frame.duration > 0 and 0 < kept < frame.samples):
        return frame
    # Not with an array: PyAV 18.1 reads beyond the planes of frames with eight channels or more.
    graph = Graph()
    graph.threads = 1
    source = graph.add_abuffer(
        sample_rate=frame.sample_rate,
        format=frame.format.name,
        layout=frame.layout.name,
        time_base=Fraction(1, frame.sample_rate),
    )
    sink = graph.add("abuffersink")
    graph.link_nodes(source, graph.add("atrim", f"end_sample={kept}"), sink).configure()
    pts, frame.pts = frame.pts, 0
    source.push(frame)
    cut = sink.pull()
    cut.pts = pts
    return cut
