"""What a media file says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .container import check_size, choose_video, decoding_error, open_container, prepare_decoder, shown
from .picture_facts import DeclaredColours, VideoFacts, picture_facts
from .reasons import REASONS, ClipError, DamageError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["REASONS", "AudioFacts", "ClipError", "DamageError", "MediaInfo", "VideoFacts", "probe"]

COVERAGE_TOLERANCE_SECONDS = 0.5
MAX_DURATION_SECONDS = 4 * 3600.0
NO_DECODER = "unknown"  # the codec of a sound that PyAV cannot decode


@dataclass(frozen=True)
class AudioFacts:
    """The first audio stream."""

    index: int
    codec: str
    sample_rate_hz: int
    channels: int
    start_seconds: float  # on the container's clock


@dataclass(frozen=True)
class MediaInfo:
    """What the header of a media file claims. Nothing here is checked against the data."""

    path: Path
    container: str
    start_seconds: float  # earliest time of any stream, on the container's clock
    duration_seconds: float | None  # None when the container does not tell
    video: VideoFacts | None
    audio: AudioFacts | None

    @property
    def clip_start_seconds(self) -> float:
        """Clip time 0 on the container's clock: the first shown picture, or the first sound without one."""
        stream = self.video or self.audio
        return stream.start_seconds if stream else self.start_seconds

    @property
    def late_picture_seconds(self) -> float:
        """How much of the sound is over when the first picture is shown."""
        if self.video is None or self.audio is None:
            return 0.0
        return max(self.video.start_seconds - self.audio.start_seconds, 0.0)

    @property
    def claimed_end_seconds(self) -> float | None:
        """Where the container claims to end, in clip time; None when it does not tell."""
        if self.duration_seconds is None:
            return None
        return self.start_seconds + self.duration_seconds - self.clip_start_seconds


def check_coverage(
    info: MediaInfo, what: str, covered_seconds: float, *, missing_seconds: float = 0.0
) -> None:
    """Raises `ClipError('truncated')` when `what` leaves more than 0.5 s of the clip uncovered.

    covered_seconds: where it ends, in clip time.
    missing_seconds: how much is missing before: a late start, and holes.
    """
    claimed = info.claimed_end_seconds
    early = 0.0 if claimed is None else max(claimed - covered_seconds, 0.0)
    if early > COVERAGE_TOLERANCE_SECONDS:
        raise ClipError(
            "truncated", f"{what} ends at {covered_seconds:.2f} s, the container claims {claimed:.2f} s"
        )
    # Containers round times, some to 1 ms.
    if round(missing_seconds + early, 2) > COVERAGE_TOLERANCE_SECONDS:
        raise ClipError(
            "truncated",
            f"{what} begins late or has holes: {missing_seconds:.2f} s are missing before its end at "
            f"{covered_seconds:.2f} s",
        )


def probe(path: Path) -> MediaInfo:
    """Reads the header of `path`, and its first picture for orientation, colours and true size.

    Raises `ClipError`: 'missing', 'empty', 'unreadable', 'too-large', 'out-of-memory'.
    """
    import av

    with open_container(path) as container:
        try:
            video = _video_facts(container, path)
            audio = _audio_facts(container)
        except av.error.FFmpegError as error:
            raise decoding_error(error, f"the first picture does not decode: {shown(path)}") from error
        if video is None and audio is None:
            raise ClipError("unreadable", f"neither picture nor sound in it: {shown(path)}")
        duration = None if container.duration is None else container.duration / av.time_base
        if duration is not None and duration > MAX_DURATION_SECONDS:
            raise ClipError(
                "too-large", f"it claims {duration:.0f} s, at most {MAX_DURATION_SECONDS:.0f} s is read"
            )
        start = container.start_time
        return MediaInfo(
            path=path,
            container=container.format.name,
            start_seconds=0.0 if start is None else start / av.time_base,
            duration_seconds=duration,
            video=video,
            audio=audio,
        )


def _video_facts(container: Any, path: Path) -> VideoFacts | None:
    stream, warnings = choose_video(container)
    if stream is None:
        return None
    context = prepare_decoder(stream)
    check_size(context.width, context.height)
    declared = DeclaredColours.of(context)
    picture = _first_picture(container.demux(stream), context)
    if picture is None:
        raise ClipError("unreadable", f"no picture decodes: {shown(path)}")
    start = _start_seconds(stream, container)
    return picture_facts(stream, picture, declared, start_seconds=start, choice=warnings)


def _first_picture(packets: Iterable[Any], context: Any) -> Any | None:
    # Draining after a packet saves decoding the ones that reordering would wait for.
    for packet in packets:
        if packet.size and packet.is_keyframe:
            pictures = [*context.decode(packet), *context.decode(None)]
            if pictures:
                return pictures[0]
            context.flush_buffers()
    return None


def _audio_facts(container: Any) -> AudioFacts | None:
    if not container.streams.audio:
        return None
    stream = container.streams.audio[0]
    context = stream.codec_context
    return AudioFacts(
        index=stream.index,
        codec=context.codec.canonical_name if context else NO_DECODER,
        sample_rate_hz=(context.sample_rate or 0) if context else 0,
        channels=(context.channels or 0) if context else 0,
        start_seconds=_start_seconds(stream, container),
    )


def _start_seconds(stream: Any, container: Any) -> float:
    import av

    if stream.start_time is not None and stream.time_base:
        return float(stream.start_time * stream.time_base)
    return 0.0 if container.start_time is None else float(container.start_time / av.time_base)
