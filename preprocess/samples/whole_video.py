"""Decoding of a video of any length to the frames and the sound of its windows, on disk.

Frames and sound are chosen as for the sample of a clip. The video is decoded once, whatever its number of
windows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ...figures import clock
from ..collections.specification import FbankKind, FeatureSettings, Sampling
from ..collections.windows import Span, Window, pictures_in, plan_windows, whole_seconds
from ..media.audio import SAMPLE_RATE_HZ, stream_waveform
from ..media.probe import COVERAGE_TOLERANCE_SECONDS, MediaInfo
from ..media.reasons import ClipError, DamageError
from ..media.sound_choice import Loudness
from ..media.video.pyav import MissingPictureError, displayed_timeline, stream_frames
from ..media.video.timeline import Timeline, read_timeline
from .fbank import ANALYSIS_SAMPLES, log_mel
from .sample import choose_frames, fbank_members, jpeg

WAVEFORM = "waveform.f32"


@dataclass(frozen=True)
class DecodeRequest:
    """A video to decode, as returned by `probe`, and the empty folder to decode it into.

    `warnings` are those of `probe_with_sound`. With `short`, a video that is shorter than a window has as
    many frames and audio windows as seconds; otherwise as many as every window, the last frame several times.
    A video that is longer than `longest_seconds` is not decoded; None for no further limit.
    """

    info: MediaInfo
    folder: Path
    sampling: Sampling
    window_seconds: int
    warnings: tuple[str, ...] = ()
    short: bool = False
    longest_seconds: float | None = None

    def sampling_of(self, seconds: float) -> Sampling:
        """Return the sampling of the windows of a video of `seconds`."""
        count = len(whole_seconds(seconds))
        if not self.short or count >= self.window_seconds:
            return self.sampling
        return replace(self.sampling, frames=count, windows=count)


@dataclass(frozen=True)
class DecodedVideo:
    """A decoded video. Its pictures and its sound lie in `folder`.

    Attributes:
        folder: where `read_window` finds them.
        seconds: its length.
        windows: the parts that it was divided into.
        sound_starts: where the sound of each window starts, in samples.
        width, height: of the upright pictures, in pixels.
        has_audio: whether it has sound, not silence in its place.
        warnings: one line each, for the user.
    """

    folder: Path
    seconds: float
    windows: tuple[Window, ...]
    sound_starts: tuple[int, ...]
    width: int
    height: int
    has_audio: bool
    warnings: tuple[str, ...]


def decode_video(request: DecodeRequest) -> DecodedVideo:
    """Decode a video. It can run in a separate process, and needs no torch.

    Raises ClipError: `no-video`, `too-large`, and as the decoders do. A video without sound, or one whose
    sound ends early, gets silence.
    """
    info = request.info
    if info.video is None:
        raise ClipError("no-video", "it holds sound alone; a video is needed")
    timeline = read_timeline(info)
    if timeline.complete:
        try:
            return _shoot(request, timeline, counted=False)
        except MissingPictureError:
            pass
    elif rate := info.video.fps_average:
        # Pictures without times are decoded to count them. A picture has at most two packets, its fields.
        check_length(len(timeline.pts) / 2 / rate, request.longest_seconds)
    return _shoot(request, displayed_timeline(info, timeline), counted=True)


def check_length(seconds: float, longest_seconds: float | None) -> None:
    """Raise ClipError (`too-large`) for a video that is longer than allowed; None allows every length."""
    if longest_seconds is not None and seconds > longest_seconds:
        raise ClipError(
            "too-large", f"it lasts {clock(seconds)}, longer than the {clock(longest_seconds)} allowed"
        )


def _shoot(request: DecodeRequest, timeline: Timeline, *, counted: bool) -> DecodedVideo:
    times = timeline.times_seconds
    seconds = float(timeline.seconds(timeline.end))
    check_length(seconds, request.longest_seconds)
    sampling = request.sampling_of(seconds)
    windows = plan_windows(seconds, request.window_seconds, sampling)
    warnings, has_audio = _record(request, seconds)
    wanted: dict[int, list[tuple[int, int]]] = {}
    starts = []
    for place, window in enumerate(windows):
        span = pictures_in(window.start_seconds, window.end_seconds, times)
        starts.append(round(span.start_seconds * SAMPLE_RATE_HZ))
        shown = times[span.first : span.last] - span.start_seconds
        for number, index in enumerate(choose_frames(shown, sampling)):
            wanted.setdefault(span.first + int(index), []).append((place, number))
    numbers = {index if counted else int(timeline.visible[index]): index for index in wanted}
    height = width = 0
    for number, pixels in stream_frames(request.info, timeline, numbers, counted=counted):
        height, width = pixels.shape[:2]
        content = jpeg(pixels, sampling)
        for place, frame in wanted[numbers[number]]:
            folder = _window_folder(request.folder, place)
            folder.mkdir(exist_ok=True)
            (folder / f"frame_{frame:02d}.jpg").write_bytes(content)
    video_warnings = request.info.video.warnings if request.info.video else ()
    return DecodedVideo(
        folder=request.folder,
        seconds=seconds,
        windows=windows,
        sound_starts=tuple(starts),
        width=width,
        height=height,
        has_audio=has_audio,
        warnings=(*video_warnings, *request.warnings, *warnings),
    )


def _record(request: DecodeRequest, seconds: float) -> tuple[list[str], bool]:
    """Write the sound, at least as long as the pictures but for half a second. Returns warnings."""
    path = request.folder / WAVEFORM
    with path.open("wb") as stream:
        if request.info.audio is None:
            _write_silence(stream, round(seconds * SAMPLE_RATE_HZ))
            return ["no audio stream: silence was put in its place"], False
        heard, silent = _write_sound(stream, request.info, request.longest_seconds)
        missing = round(seconds * SAMPLE_RATE_HZ) - heard
        if missing <= COVERAGE_TOLERANCE_SECONDS * SAMPLE_RATE_HZ:
            _write_silence(stream, 0)
            return silent, True
        _write_silence(stream, missing)
        ends = heard / SAMPLE_RATE_HZ
        return [*silent, f"its sound ends at {ends:.2f} of {seconds:.2f} s: silence was put after it"], True


def _write_sound(stream: BinaryIO, info: MediaInfo, longest_seconds: float | None) -> tuple[int, list[str]]:
    """Write the sound; return the number of samples, and warnings."""
    loudness = Loudness()

    def take(samples: npt.NDArray[np.float32]) -> None:
        if not np.isfinite(samples).all():
            raise DamageError("unreadable", "its sound decodes to numbers that are not finite")
        loudness.add(samples)
        stream.write(samples.astype("<f4").tobytes())
        # Of a file that states no length, the sound may go on after the pictures.
        if info.claimed_end_seconds is None:
            check_length(stream.tell() / 4 / SAMPLE_RATE_HZ, longest_seconds)

    sound = stream_waveform(info.path, info, take)
    if sound.failure is not None:
        raise sound.failure
    return sound.samples, loudness.warnings()


def _write_silence(stream: BinaryIO, samples: int) -> None:
    """Write zeros, at least as many as an analysis frame needs."""
    stream.write(bytes(4 * max(samples, ANALYSIS_SAMPLES - stream.tell() // 4, 0)))


def read_window(decoded: DecodedVideo, place: int, settings: FeatureSettings) -> dict[str, bytes]:
    """Return the members `frame_00.jpg` … and the fbanks of a window, as in a shard."""
    folder = _window_folder(decoded.folder, place)
    members = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    if (steps := len(decoded.windows[place].steps)) != settings.sampling.frames:  # of a short video
        settings = replace(settings, sampling=replace(settings.sampling, frames=steps, windows=steps))
    last = place == len(decoded.windows) - 1
    end = None if last else round(decoded.windows[place].end_seconds * SAMPLE_RATE_HZ)
    return members | fbank_members(_waveform(decoded, decoded.sound_starts[place], end), settings)[0]


def read_sound(decoded: DecodedVideo, span: Span, kind: FbankKind) -> npt.NDArray[np.float16]:
    """Return the log-mel energies of the sound in `span`, for display: `[n, bins]`, n at least 1."""
    start, end = (round(edge * SAMPLE_RATE_HZ) for edge in span)
    waveform = _waveform(decoded, start, end)
    each = round(kind.target_frames * kind.frame_shift_milliseconds * SAMPLE_RATE_HZ / 1000)
    parts = [waveform[place : place + each] for place in range(0, len(waveform), each)]
    long = [part for part in parts if len(part) >= ANALYSIS_SAMPLES]
    return np.concatenate([log_mel(part[None], [kind])[0][0] for part in long])


def _waveform(decoded: DecodedVideo, start: int, end: int | None) -> npt.NDArray[np.float32]:
    """Return the samples `[start, end)`, filled with zeros up to one analysis frame."""
    waveform = np.memmap(decoded.folder / WAVEFORM, dtype="<f4", mode="r")
    part = np.array(waveform[start:end], dtype=np.float32)
    return np.pad(part, (0, max(ANALYSIS_SAMPLES - len(part), 0)))


def windows_decoded(folder: Path) -> int:
    """Return the number of windows that a running decoding in `folder` has started."""
    return sum(path.is_dir() for path in folder.iterdir())


def _window_folder(folder: Path, place: int) -> Path:
    return folder / f"{place:06d}"
