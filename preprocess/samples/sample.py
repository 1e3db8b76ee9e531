"""One raw clip to one sample: frames, log-mel energies, labels and masks as the members of a shard."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ...shards.additions import Sums
from ...shards.fbank_sums import fbank_sums
from ...shards.schema import Sample
from ..collections.arrays import npy_bytes
from ..collections.paths import resolve_source
from ..collections.specification import (
    FBANK_KINDS,
    FRAME_PIXELS,
    JPEG_QUALITY,
    ClipSpecification,
    FeatureSettings,
    Sampling,
)
from ..collections.windows import pictures_in
from ..media.audio import SAMPLE_RATE_HZ, read_waveform
from ..media.pictures import read_pictures
from ..media.probe import COVERAGE_TOLERANCE_SECONDS, NO_DECODER, MediaInfo
from ..media.reasons import ClipError
from ..media.recording import Recording, open_recording
from ..media.sound_choice import probe_with_sound, silence_warnings
from ..media.video import SOUND_DECODER_SEPARATOR, read_frames
from ..media.video.frames import Choose, Frames, at_seconds, evenly
from .annotated_frames import annotated_frames, sound_span
from .class_masks import class_mask_members
from .clip_length import annotated_span, length_warnings
from .clip_statistics import clip_statistics
from .fbank import ANALYSIS_SAMPLES, audio_windows, log_mel
from .masks import mask_members
from .object_masks import object_mask_members
from .sources import source_files


@dataclass(frozen=True)
class Footage:
    """Decoded frames and sound of a clip.

    Attributes:
        frames: its M frames.
        waveform: float32 `[n]`, mono, 16 kHz.
        seconds: its length.
        fps: average frames a second; 0 without a video stream.
        has_audio: whether the sound is real, not silence in its place.
        ffmpeg_sound: whether the ffmpeg program decoded the sound, for which PyAV has no decoder.
        warnings: one line each, for the user.
        stored_size: width and height of its upright pictures before their pixels are made square.
    """

    frames: Frames
    waveform: npt.NDArray[np.float32]
    seconds: float
    fps: float
    has_audio: bool
    ffmpeg_sound: bool = False
    warnings: tuple[str, ...] = ()
    stored_size: tuple[int, int] | None = None

    def first(self, seconds: float) -> Footage:
        """Return the footage with the sound of its first `seconds`, where its frames already are."""
        return dataclasses.replace(
            self,
            waveform=self.waveform[: round(seconds * SAMPLE_RATE_HZ)],
            seconds=seconds,
            warnings=(*self.warnings, f"it lasts {self.seconds:.2f} s: the first {seconds:g} s were taken"),
        )

    @property
    def decoder(self) -> str:
        """Name of the decoder for the manifest; with `+ffmpeg` when ffmpeg decoded the sound."""
        return (
            f"{self.frames.decoder}{SOUND_DECODER_SEPARATOR}ffmpeg"
            if self.ffmpeg_sound
            else self.frames.decoder
        )


@dataclass(frozen=True)
class SampleMaker:
    """Makes samples of a collection under fixed settings. Picklable, for the worker processes.

    Attributes:
        raw: the collection's folder.
        settings: the settings that decide the samples' bytes.
        decoder: the video decoder, or `auto`.
        missing_audio: `quarantine` a clip without sound, or give it `silence`.
        allow_links: whether clips may be links that lead out of `raw`.
        audio_stream: the sound stream to use: `default`, `loudest`, or a number, from 0.
        trim: whether to use the first part of a clip that is longer than its annotation.
    """

    raw: Path
    settings: FeatureSettings
    decoder: str = "auto"
    missing_audio: Literal["quarantine", "silence"] = "quarantine"
    allow_links: bool = False
    audio_stream: str = "default"
    trim: bool = False

    def __call__(self, clip: ClipSpecification) -> Sample:
        """Decode `clip`. Raises ClipError with the reason when it cannot be made."""
        if clip.problem is not None:
            raise ClipError(*clip.problem)
        if clip.lengths:
            return dataclasses.replace(self, settings=self.settings.of_clip(clip))._make(clip)
        return self._make(clip)

    def footage(self, clip: ClipSpecification) -> Footage:
        """Return the decoded frames and sound of a clip."""
        if clip.pictures:
            return self._pictures(clip)
        if clip.frame_seconds:
            return self._annotated(clip)
        return self._film(clip) if clip.end_seconds is None else self._span(clip, clip.end_seconds)

    def _make(self, clip: ClipSpecification) -> Sample:
        """Make the sample of a clip that has as many frames and windows as the settings say."""
        footage = self.footage(clip)
        check_length(footage.waveform)
        warnings = list(footage.warnings)
        if footage.has_audio:
            warnings += silence_warnings(footage.waveform)
        else:
            warnings.append("no audio stream: silence was put in its place")
        warnings += length_warnings(clip, footage.seconds, self.settings.sampling)
        frames = fitted(footage.frames, self.settings.sampling)
        members = {f"frame_{n:02d}.jpg": jpeg_bytes(frame) for n, frame in enumerate(frames)}
        fbanks, sums = fbank_members(footage.waveform, self.settings, padded=bool(clip.frame_seconds))
        members |= fbanks
        paths, shape = self._mask_paths(clip), footage.frames.images.shape
        if clip.mask_kind == "objects":
            masks, unmarked = object_mask_members(paths, shape, stored_size=footage.stored_size)
            members |= masks
            warnings += unmarked
        elif not clip.mask_classes:
            two_values = clip.mask_kind == "two-values"
            members |= mask_members(paths, shape, stored_size=footage.stored_size, two_values=two_values)
        else:
            masks, unknown = class_mask_members(
                paths, shape, kind=clip.mask_kind, classes=clip.mask_classes, stored_size=footage.stored_size
            )
            members |= masks
            warnings += unknown
        if clip.labels:
            members["label.npy"] = npy_bytes(np.array(clip.labels, dtype=np.int16))
        return Sample(
            key=clip.key,
            members=members | dict(clip.members),
            fields=dict(clip.fields) | clip.lengths,
            source=clip.source,
            seconds=round(footage.seconds, 6),
            fps=round(footage.fps, 6),
            has_audio=footage.has_audio,
            decoder=footage.decoder,
            warnings=tuple(warnings),
            fbank_sums=sums,
            source_files=source_files(clip, self.resolve),
            statistics=clip_statistics(footage.waveform, frames),
        )

    def resolve(self, source: str) -> Path:
        return resolve_source(self.raw, source, allow_links=self.allow_links)

    def _mask_paths(self, clip: ClipSpecification) -> list[Path | None]:
        try:
            return [self.resolve(mask) if mask else None for mask in clip.masks]
        except ClipError as error:
            if error.reason != "missing":
                raise
            count = sum(map(bool, clip.masks))
            message = f"of the {count} masks it should have, {error.message}"
            raise ClipError("mask-mismatch", message) from error

    def _film(self, clip: ClipSpecification) -> Footage:
        path = self.resolve(clip.source)
        info, warnings = probe_with_sound(path, self.audio_stream)
        seconds = info.claimed_end_seconds
        if seconds is None:
            seconds = self._last_seconds(path, info)
        span = annotated_span(clip, seconds, trim=self.trim)
        frames = self._frames(path, info, span)
        waveform, has_audio = self._waveform(path, info, seconds)
        fps = (info.video.fps_average or 0.0) if info.video else 0.0
        warnings = [*(info.video.warnings if info.video else ()), *warnings]
        stored = info.video.upright_size if info.video else None
        footage = Footage(
            frames, waveform, seconds, fps, has_audio, _is_for_ffmpeg(info), tuple(warnings), stored
        )
        return footage if span is None else footage.first(span)

    def _span(self, clip: ClipSpecification, end: float) -> Footage:
        """Decode a span of a recording, with the frames and the sound that whole-video prediction takes."""
        recording = open_recording(self.resolve(clip.source), self.audio_stream)
        recording.pictures.check(clip.start_seconds, end)
        start = clip.start_seconds

        def choose(times: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
            nonlocal start
            span = pictures_in(clip.start_seconds, end, times)
            start = span.start_seconds
            return span.first + choose_frames(times[span.first : span.last] - start, self.settings.sampling)

        frames = self._recorded_frames(recording, choose)
        return self._recorded(recording, frames, start, end)

    def _annotated(self, clip: ClipSpecification) -> Footage:
        """Decode the frames of a video that masks belong to, and the sound around them."""
        recording = open_recording(self.resolve(clip.source), self.audio_stream)
        seconds = 0.0

        def choose(times: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
            nonlocal seconds
            seconds = recording.pictures.seconds
            return annotated_frames(clip, times, seconds)

        frames = self._recorded_frames(recording, choose)
        start, end, warnings = sound_span(clip, frames.times_seconds, seconds)
        footage = self._recorded(recording, frames, start, end)
        return dataclasses.replace(footage, warnings=(*footage.warnings, *warnings))

    def _recorded(self, recording: Recording, frames: Frames, start: float, end: float) -> Footage:
        """Return frames of a recording with its sound from `start` to `end`."""
        info = recording.info
        has_audio = info.audio is not None or self.missing_audio != "silence"
        waveform = recording.sound().read(start, end) if has_audio else silence(end - start)
        warnings = (*(info.video.warnings if info.video else ()), *recording.warnings)
        return Footage(
            frames,
            waveform,
            end - start,
            (info.video.fps_average or 0.0) if info.video else 0.0,
            has_audio,
            _is_for_ffmpeg(info),
            warnings,
            info.video.upright_size if info.video else None,
        )

    def _pictures(self, clip: ClipSpecification) -> Footage:
        """Decode a clip that is shipped as one picture a second, with or without a sound file."""
        frames = self._picture_files(clip)
        seconds = float(self.settings.sampling.frames)
        if clip.sound is not None:
            path = self.resolve(clip.sound)
            info, warnings = probe_with_sound(path, self.audio_stream)
            seconds = info.claimed_end_seconds or seconds
            span = annotated_span(clip, seconds, trim=self.trim)
            waveform, has_audio = self._waveform(path, info, seconds)
            heard, seen = len(waveform) / SAMPLE_RATE_HZ, float(frames.times_seconds[-1])
            if heard < seen - COVERAGE_TOLERANCE_SECONDS:
                raise ClipError(
                    "truncated", f"sound ends at {heard:.2f} s, the last picture is of {seen:.2f} s"
                )
            footage = Footage(
                frames, waveform, seconds, 0.0, has_audio, _is_for_ffmpeg(info), tuple(warnings)
            )
            return footage if span is None else footage.first(span)
        if self.missing_audio == "silence":
            return Footage(frames, silence(seconds), seconds, 0.0, False)
        raise ClipError("no-audio", "its frames are pictures, and there is no sound file beside them")

    def _recorded_frames(self, recording: Recording, choose: Choose) -> Frames:
        return recording.pictures.read(choose)

    def _picture_files(self, clip: ClipSpecification) -> Frames:
        return read_pictures([self.resolve(picture) for picture in clip.pictures])

    def _last_seconds(self, path: Path, info: MediaInfo) -> float:
        """Return the time of the last picture of a file that does not say how long it is."""
        return float(self._frames(path, info, None).times_seconds[-1])

    def _frames(self, path: Path, info: MediaInfo, span: float | None) -> Frames:
        choose = partial(choose_frames, sampling=self.settings.sampling, end_seconds=span)
        return read_frames(path, choose, decoder=self.decoder, info=info)

    def _waveform(self, path: Path, info: MediaInfo, seconds: float) -> tuple[npt.NDArray[np.float32], bool]:
        if info.audio is None and self.missing_audio == "silence":
            return silence(seconds), False
        return read_waveform(path, info=info), True


def _is_for_ffmpeg(info: MediaInfo) -> bool:
    return info.audio is not None and info.audio.codec == NO_DECODER


def choose_frames(
    times: npt.NDArray[np.float64], sampling: Sampling, end_seconds: float | None = None
) -> npt.NDArray[np.intp]:
    """Return the indices `[M]` of a sample's frames among those at `times` `[N]` before `end_seconds`."""
    if end_seconds is not None:
        times = times[: max(int(np.searchsorted(times, end_seconds)), 1)]
    if sampling.frame_offset_seconds is None:
        return evenly(times, sampling.frames)
    return at_seconds(times, np.arange(sampling.frames, dtype=np.float64) + sampling.frame_offset_seconds)


def check_length(waveform: npt.NDArray[np.float32]) -> None:
    """Raise ClipError `empty` for a waveform `[n]` that is shorter than an analysis frame."""
    if len(waveform) < ANALYSIS_SAMPLES:
        raise ClipError("empty", f"its sound lasts {len(waveform)} samples, less than one analysis frame")


def silence(seconds: float) -> npt.NDArray[np.float32]:
    """Return zeros in place of a sound: float32 `[n]` at 16 kHz."""
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), dtype=np.float32)


def fbank_members(
    waveform: npt.NDArray[np.float32], settings: FeatureSettings, *, padded: bool = False
) -> tuple[dict[str, bytes], dict[str, Sums]]:
    """Return each fbank of a mono waveform `[n]` as a member, and (sum, sum of squares, count) by name.

    `padded` fills a waveform with zeros that is shorter than a second for each frame. That is always done
    for frames in the middle of seconds.
    """
    members, sums = {}, {}
    sampling = settings.sampling
    if sampling.frame_offset_seconds is not None:  # one a second: windows cover the same span
        waveform = waveform[: sampling.frames * SAMPLE_RATE_HZ]
    if padded or sampling.frame_times == "middle":
        # Frames are a second apart: in a shorter clip, windows over its sound alone would run ahead of them.
        waveform = np.pad(waveform, (0, max(sampling.frames * SAMPLE_RATE_HZ - len(waveform), 0)))
    windows = audio_windows(waveform, count=sampling.windows, seconds=sampling.window_seconds)
    kinds = [FBANK_KINDS[feature] for feature in settings.fbanks]
    for kind, features in zip(kinds, log_mel(windows, kinds), strict=True):
        members[f"{kind.name}.npy"] = npy_bytes(features)
        sums[kind.name] = fbank_sums(features)
    return members, sums


def fitted(frames: Frames, sampling: Sampling) -> list[Any]:
    """Return the frames at 224×224 as Pillow images."""
    from PIL import Image

    return [fit(Image.fromarray(pixels), sampling.resize) for pixels in frames.images]


def jpeg(pixels: npt.NDArray[np.uint8], sampling: Sampling) -> bytes:
    """Return a frame `[H, W, 3]` at 224×224 as JPEG."""
    from PIL import Image

    return jpeg_bytes(fit(Image.fromarray(pixels), sampling.resize))


def jpeg_bytes(image: Any) -> bytes:
    """Return a Pillow image as JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def fit(image: Any, resize: str) -> Any:
    """Return a Pillow image at 224×224: `crop` (short side to 224, then the centre) or `squash`. Bicubic."""
    from PIL import Image, ImageOps

    size = (FRAME_PIXELS, FRAME_PIXELS)
    if resize == "crop":
        return ImageOps.fit(image, size, Image.Resampling.BICUBIC)
    return image.resize(size, Image.Resampling.BICUBIC)
