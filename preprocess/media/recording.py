"""Spans of a long recording: their pictures and their sound, without decoding all of it for each.

The packets are read once for the presentation times, and the sound is decoded once, into a temporary file.
The pictures of a span are decoded from the key picture before it. Damage and holes count only for the spans
that they lie in.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import StgcmaError
from .audio import SAMPLE_RATE_HZ, missing_seconds, stream_waveform
from .audio_decoding import DecodedSound
from .probe import COVERAGE_TOLERANCE_SECONDS, ClipError, DamageError, MediaInfo
from .sound_choice import probe_with_sound
from .video.conversion import Collector
from .video.decoding_plan import make_plan
from .video.frames import Choose, Frames, chosen_indices
from .video.pyav import NAME, decode_all, decode_planned, timeline_of
from .video.seeking import LostPlaceError
from .video.timeline import Timeline, scan_timeline

T = TypeVar("T")

# An error in one packet of sound can change the samples of its neighbours.
_MARGIN_SECONDS = 0.1
_BYTES_A_SAMPLE = 4


class Recording:
    """A recording, opened once for all of its spans.

    Attributes:
        info: facts of its streams.
        warnings: about the choice of the sound stream.
        pictures: its pictures.
        sound: returns its sound, decoded on the first call; raises as `RecordedSound`.
    """

    def __init__(self, path: Path, audio_stream: str) -> None:
        self.info, self.warnings = probe_with_sound(path, audio_stream)
        self.pictures = RecordedPictures(self.info)
        self.sound = _Once(lambda: RecordedSound(self.info))


def open_recording(path: Path, audio_stream: str) -> Recording:
    """Return the recording at `path`; the one of the call before, when the file is the same.

    Raises `ClipError` as `probe_with_sound`.
    """
    status = path.stat()
    identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return _opened(path, audio_stream, identity)


@lru_cache(maxsize=1)
def _opened(path: Path, audio_stream: str, _identity: tuple[int, ...]) -> Recording:
    return Recording(path, audio_stream)


class RecordedPictures:
    """The pictures of a recording.

    Where they have to be counted, because the container has no presentation times or a picture is missing
    that its packets announce, everything is decoded once for the times, and then from the beginning for each
    span that begins before the end of the one before.
    """

    def __init__(self, info: MediaInfo) -> None:
        self._info = info
        self._scan = _Once(lambda: scan_timeline(info))
        self._displayed = _Once(self._decode_times)
        self._stream: Iterator[tuple[int, Any]] = iter(())
        self._next = 0

    def _decode_times(self) -> Timeline:
        """Return the timeline of all pictures up to the first damage, by decoding them."""
        times: list[int | None] = []
        with contextlib.suppress(DamageError):
            for picture in decode_all(self._info):
                times.append(picture.pts)
        return timeline_of(self._info, self._scan().timeline, times)

    def _timeline(self) -> Timeline:
        timeline = self._scan().timeline
        return timeline if timeline.complete else self._displayed()

    @property
    def seconds(self) -> float:
        """The end of the last picture, in clip time."""
        timeline = self._timeline()
        return float(timeline.seconds(timeline.end))

    def check(self, begin: float, end: float) -> None:
        """Raise `ClipError` 'truncated' when more than 0.5 s of the span, in clip time, have no pictures."""
        scan, timeline = self._scan(), self._timeline()
        reached = float(timeline.seconds(timeline.end))
        staying = max(scan.staying_seconds, self._info.empty_seconds)
        early = max(end - reached, 0.0)
        if early > max(COVERAGE_TOLERANCE_SECONDS, staying):
            raise ClipError("truncated", f"the pictures end at {reached:.2f} s, the span at {end:.2f} s")
        inside = ((max(first, begin), min(last, end)) for first, last in scan.holes)
        missing = sum(max(last - first, 0.0) for first, last in inside) + max(early - staying, 0.0)
        missing += scan.late_seconds if begin <= 0 else 0.0
        if round(missing, 2) > COVERAGE_TOLERANCE_SECONDS:
            raise ClipError(
                "truncated", f"{missing:.2f} s between {begin:.2f} and {end:.2f} s are without pictures"
            )

    def read(self, choose: Choose) -> Frames:
        """Return the frames that `choose` picks from all presentation times, in the order of its picks.

        Raises `DamageError` where a picture that they need does not decode, and as `scan_timeline`.
        """
        if self._scan().timeline.complete:
            for seek in (True, False):
                with contextlib.suppress(LostPlaceError):
                    if (found := self._read_planned(choose, seek=seek)) is not None:
                        return found
                    break
        return self._read_counted(choose)

    def times(self, choose: Choose, *, displayed: bool = False) -> NDArray[np.float64]:
        """Return the times of the frames that `read` returns, from the packets alone if these have times.

        `displayed` decodes all pictures for their times, as `read` does where a picture is missing.
        """
        times = (self._displayed() if displayed else self._timeline()).times_seconds
        return times[chosen_indices(choose, times)]

    def _read_planned(self, choose: Choose, *, seek: bool) -> Frames | None:
        """Decode what is needed alone; None when a picture is missing without an error."""
        timeline = self._scan().timeline
        times = timeline.times_seconds
        indices = chosen_indices(choose, times)
        wanted = timeline.visible[np.unique(indices)]
        collector = Collector(self._info, wanted)
        plan = make_plan(timeline, wanted)
        for picture in decode_planned(self._info, plan, timeline, seek=seek):
            collector.collect(picture.pts, picture)
        if not collector.complete:
            return None
        return collector.frames(timeline.visible[indices], times[indices], decoder=NAME)

    def _read_counted(self, choose: Choose) -> Frames:
        times = self._displayed().times_seconds
        indices = chosen_indices(choose, times)
        wanted = np.unique(indices)
        if self._next == 0 or wanted[0] < self._next:
            self._stream = enumerate(decode_all(self._info))
        collector = Collector(self._info, wanted)
        self._next = 0  # where decoding fails, it starts again
        number = -1
        while not collector.complete:
            number, picture = next(self._stream, (-1, None))
            if number < 0:
                raise ClipError("unreadable", "the same file decodes to fewer pictures the second time")
            collector.collect(number, picture)
        self._next = number + 1
        return collector.frames(indices, times[indices], decoder=NAME)


class _Once(Generic[T]):
    """The result of `make`, or the `ClipError` that it raised, computed on the first call."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._found: list[T] = []
        self._error: ClipError | None = None

    def __call__(self) -> T:
        if self._error is not None:
            raise type(self._error)(self._error.reason, self._error.message)
        if not self._found:
            try:
                self._found.append(self._make())
            except ClipError as error:
                self._error = error
                raise
        return self._found[0]


class RecordedSound:
    """The sound of a recording, decoded into a temporary file without a name.

    Raises `ClipError`: 'no-audio', and of `stream_waveform`; StgcmaError when the file cannot be written.
    """

    def __init__(self, info: MediaInfo) -> None:
        self._info = info
        self._file: IO[bytes] = _temporary_file()
        weakref.finalize(self, self._file.close)
        try:
            self._sound: DecodedSound = stream_waveform(info.path, info, self._write)
            self._file.flush()
        except OSError as error:
            raise _unwritable(error) from error

    def _write(self, samples: NDArray[np.float32]) -> None:
        self._file.write(samples.astype("<f4").tobytes())

    def read(self, begin: float, end: float) -> NDArray[np.float32]:
        """Return the samples [n] of the span from `begin` to `end`, in clip time.

        Raises `ClipError` 'truncated' when more than 0.5 s of it have no sound, `DamageError` when some of it
        does not decode.
        """
        self._check(begin, end)
        first, last = round(begin * SAMPLE_RATE_HZ), round(end * SAMPLE_RATE_HZ)
        offset = first * _BYTES_A_SAMPLE
        content = os.pread(self._file.fileno(), (last - first) * _BYTES_A_SAMPLE, offset)
        samples = np.frombuffer(content, dtype="<f4").astype(np.float32)
        if not np.isfinite(samples).all():
            raise DamageError("unreadable", "its sound decodes to numbers that are not finite")
        return samples

    def _check(self, begin: float, end: float) -> None:
        sound, start = self._sound, self._info.clip_start_seconds
        reached = sound.samples / SAMPLE_RATE_HZ
        if end > reached + COVERAGE_TOLERANCE_SECONDS:
            raise ClipError(
                "truncated", f"its sound ends at {reached:.2f} s of the recording, the span at {end:.2f} s"
            )
        last = start + min(end, reached)
        missing = missing_seconds((*sound.spans, (last, last)), start + begin, last)
        if missing > COVERAGE_TOLERANCE_SECONDS:
            raise ClipError(
                "truncated", f"{missing:.2f} s between {begin:.2f} and {end:.2f} s are without sound"
            )
        for damage, ends in sound.damaged:
            if damage - _MARGIN_SECONDS < start + end and ends + _MARGIN_SECONDS > start + begin:
                raise DamageError("unreadable", f"its sound between {begin:.2f} and {end:.2f} s is damaged")


def _temporary_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(prefix="stgcma-sound-")
    except OSError as error:
        raise _unwritable(error) from error


def _unwritable(error: OSError) -> StgcmaError:
    return StgcmaError(
        f"the sound of a recording cannot be stored in {tempfile.gettempdir()}: {error.strerror}; set "
        "TMPDIR to a folder with 230 MB for each hour and worker"
    )
