"""Properties that a media file declares."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .container import (
    check_size,
    choose_video,
    decoding_error,
    default_sound,
    open_container,
    prepare_decoder,
    shown,
)
from .edit_list import StartOfPictures
from .extent import claimed_end
from .picture_facts import DeclaredColours, VideoFacts, picture_facts
from .reasons import REASONS, ClipError, DamageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["REASONS", "AudioFacts", "ClipError", "DamageError", "MediaInfo", "VideoFacts", "probe"]

COVERAGE_TOLERANCE_SECONDS = 0.5
MAX_DURATION_SECONDS = 4 * 3600.0
NO_DECODER = "unknown"  # the codec of a sound that PyAV cannot decode
# Samples that an encoder and its decoder put before the sound. Other containers state it, or include it in
# the timestamps; AVI does neither. MP3: 576 of LAME, the usual encoder, and 529 of every decoder; the others
# are those of the standards' filter banks.
AVI_DELAY_SAMPLES = {"mp3": 1105, "mp2": 481, "ac3": 256, "aac": 1024}
_PACKETS_OF_START = 32
_AVI_EMPTY_PICTURES = 3


@dataclass(frozen=True)
class AudioFacts:
    """The sound stream that is used."""

    index: int
    codec: str
    sample_rate_hz: int
    channels: int
    start_seconds: float  # on the container's clock
    number: int = 0  # its position among the sound streams
    streams: int = 1  # number of sound streams
    delay_seconds: float = 0.0  # added by its encoder before the sound, where the container does not state it


@dataclass(frozen=True)
class MediaInfo:
    """Claims of a media file's header. They are not checked against the data."""

    path: Path
    container: str
    start_seconds: float  # earliest time of any stream, on the container's clock
    duration_seconds: float | None  # None when the container states none
    video: VideoFacts | None
    audio: AudioFacts | None
    end_seconds: float | None = None  # of the used streams, on the container's clock; None when unknown

    @property
    def clip_start_seconds(self) -> float:
        """Clip time 0 on the container's clock, for pictures and sound alike.

        It is the start of the picture stream (of the sound without one). Where an edit list begins between
        two pictures, the first one is shown a little later.
        """
        stream = self.video or self.audio
        return stream.start_seconds if stream else self.start_seconds

    @property
    def late_picture_seconds(self) -> float:
        """Seconds of sound before the first picture is shown."""
        if self.video is None or self.audio is None:
            return 0.0
        return max(self.video.start_seconds - self.audio.start_seconds, 0.0)

    @property
    def empty_seconds(self) -> float:
        """Seconds of the claim that may be empty pictures of an AVI with reordered ones."""
        rate = self.video.fps_average if self.video else None
        return _AVI_EMPTY_PICTURES / rate if self.container == "avi" and rate else 0.0

    @property
    def claimed_end_seconds(self) -> float | None:
        """Claimed end of the used streams, in clip time; None when unknown."""
        return None if self.end_seconds is None else self.end_seconds - self.clip_start_seconds


def check_coverage(
    info: MediaInfo,
    what: str,
    covered_seconds: float,
    *,
    missing_seconds: float = 0.0,
    staying_seconds: float = 0.0,
) -> None:
    """Raise `ClipError('truncated')` when `what` leaves more than 0.5 s of the clip uncovered.

    covered_seconds: its end, in clip time.
    missing_seconds: missing before the end: a late start, and holes.
    staying_seconds: longest duration of the last picture, where the container states none.
    """
    claimed = info.claimed_end_seconds
    staying_seconds = max(staying_seconds, info.empty_seconds)
    early = 0.0 if claimed is None else max(claimed - covered_seconds, 0.0)
    if early > max(COVERAGE_TOLERANCE_SECONDS, staying_seconds):
        raise ClipError(
            "truncated", f"{what} ends at {covered_seconds:.2f} s, the container claims {claimed:.2f} s"
        )
    early = max(early - staying_seconds, 0.0)
    # Containers round times, some to 1 ms.
    if round(missing_seconds + early, 2) > COVERAGE_TOLERANCE_SECONDS:
        raise ClipError(
            "truncated",
            f"{what} begins late or has holes: {missing_seconds:.2f} s are missing before its end at "
            f"{covered_seconds:.2f} s",
        )


def probe(path: Path, *, sound: int | None = None) -> MediaInfo:
    """Read the header of `path`, and its first picture for rotation and true size.

    Args:
        path: the media file.
        sound: number of the sound stream to use, from 0; by default the one that players use.

    Raises `ClipError`: 'missing', 'empty', 'unreadable', 'too-large', 'out-of-memory', and 'no-audio' when it
    has sound, but not the stream `sound`.
    """
    import av

    with open_container(path) as container:
        try:
            video = _video_facts(container, path)
            audio = _audio_facts(container, sound)
        except av.error.FFmpegError as error:
            raise decoding_error(error, f"the first picture does not decode: {shown(path)}") from error
        if video is None and audio is None:
            raise ClipError("unreadable", f"neither picture nor sound in it: {shown(path)}")
        used = [container.streams[facts.index] for facts in (video, audio) if facts is not None]
        start = container.start_time
        info = MediaInfo(
            path=path,
            container=container.format.name,
            start_seconds=0.0 if start is None else start / av.time_base,
            duration_seconds=None if container.duration is None else container.duration / av.time_base,
            video=video,
            audio=audio,
            end_seconds=claimed_end(path, container, used),
        )
    claimed = info.claimed_end_seconds
    if claimed is not None and claimed > MAX_DURATION_SECONDS:
        raise ClipError(
            "too-large", f"it claims {claimed:.0f} s, at most {MAX_DURATION_SECONDS:.0f} s is read"
        )
    return info


def _video_facts(container: Any, path: Path) -> VideoFacts | None:
    stream, warnings = choose_video(container)
    if stream is None:
        return None
    context = prepare_decoder(stream)
    check_size(context.width, context.height)
    declared = DeclaredColours.of(context)
    start = StartOfPictures()
    packets = start.noting(container.demux(stream))
    picture = _first_picture(packets, context)
    if picture is None:
        raise ClipError("unreadable", f"no picture decodes: {shown(path)}")
    start_pts = None if container.format.name == "avi" else _start_pts(stream, packets, start)
    known = start_pts is not None and stream.time_base
    start_seconds = float(start_pts * stream.time_base) if known else _start_seconds(stream, container)
    facts = picture_facts(stream, picture, declared, start_seconds=start_seconds, choice=warnings)
    if start_pts is None:
        return facts
    return dataclasses.replace(facts, start_pts=start_pts - start.delay_pts(path, stream.index))


def _first_picture(packets: Iterable[Any], context: Any) -> Any | None:
    # Draining after a packet avoids decoding the packets that reordering waits for.
    for packet in packets:
        if packet.size and packet.is_keyframe:
            pictures = [*context.decode(packet), *context.decode(None)]
            if pictures:
                return pictures[0]
            context.flush_buffers()
    return None


def _start_pts(stream: Any, packets: Iterator[Any], start: StartOfPictures) -> int | None:
    """Return the start of the pictures: by the header, or the first one that is shown where that is earlier.

    Pictures that are decoded after the first key picture, but shown before it, come within a few packets.
    """
    import av

    with contextlib.suppress(av.error.FFmpegError):  # damage, which the decoders report
        for _ in itertools.islice(packets, _PACKETS_OF_START):
            pass
    starts = [*start.shown, *([] if stream.start_time is None else [stream.start_time])]
    return min(starts, default=None)


def _audio_facts(container: Any, sound: int | None) -> AudioFacts | None:
    streams = container.streams.audio
    if not streams:
        return None
    number = default_sound(streams) if sound is None else sound
    if number >= len(streams):
        raise ClipError(
            "no-audio", f"sound stream {number} was asked for, counted from 0, and it has {len(streams)}"
        )
    stream = streams[number]
    context = stream.codec_context
    codec = context.codec.canonical_name if context else NO_DECODER
    rate_hz = (context.sample_rate or 0) if context else 0
    delay = AVI_DELAY_SAMPLES.get(codec, 0) if container.format.name == "avi" else 0
    return AudioFacts(
        index=stream.index,
        codec=codec,
        sample_rate_hz=rate_hz,
        channels=(context.channels or 0) if context else 0,
        start_seconds=_start_seconds(stream, container),
        number=number,
        streams=len(streams),
        delay_seconds=delay / rate_hz if rate_hz else 0.0,
    )


def _start_seconds(stream: Any, container: Any) -> float:
    import av

    if stream.start_time is not None and stream.time_base:
        return float(stream.start_time * stream.time_base)
    return 0.0 if container.start_time is None else float(container.start_time / av.time_base)
