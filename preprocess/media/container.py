"""Opening of media files: single local files of known formats and bounded sizes."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

from .reasons import ClipError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_PIXELS = 8192 * 8192
MAX_SIDE = 16384
# A video stream is a preview when another one has more than this many times as many pixels.
_PREVIEW_FACTOR = 4

# Demuxers of self-contained files. Playlists and scripts (hls, dash, concat, sdp, image2, ...) can name other
# files or hosts, so that they are absent. av.open() refuses everything that is not listed.
DEMUXERS = (
    "mov",
    "matroska",
    "avi",
    "mpegts",
    "mpeg",
    "flv",
    "asf",
    "ogg",
    "wav",
    "mp3",
    "flac",
    "aac",
    "ivf",
    "nut",
)


def check_file(path: Path) -> None:
    """Raise `ClipError` unless `path` is a regular file with bytes in it. A FIFO would block its reader."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise ClipError("missing", f"no such file: {shown(path)}") from None
    except (OSError, ValueError) as error:
        raise ClipError("unreadable", f"{shown(path)}: {getattr(error, 'strerror', error)}") from error
    if not stat.S_ISREG(status.st_mode):
        raise ClipError("unreadable", f"not a regular file: {shown(path)}")
    if status.st_size == 0:
        raise ClipError("empty", f"the file has no bytes: {shown(path)}")


def file_url(path: Path) -> str:
    """Return `path` in the form that FFmpeg reads literally: no leading `-`, no `a:b` read as a protocol."""
    return f"file:{path.absolute()}"


def open_container(path: Path, **options: str) -> Any:
    """Open `path` with PyAV as a self-contained local file; close it, or use it in `with`.

    options: further ones of its demuxer.

    Raises `ClipError('missing' | 'empty' | 'unreadable' | 'out-of-memory')`.
    """
    import av

    check_file(path)
    try:
        return av.open(
            file_url(path),
            options={
                "protocol_whitelist": "file",
                "format_whitelist": ",".join(DEMUXERS),
                # Opening the file may decode the first pictures. This limit is above `MAX_PIXELS`, so that
                # pictures that are somewhat too large differ from broken ones.
                "max_pixels": str(4 * MAX_PIXELS),
                **options,
            },
            metadata_errors="replace",
        )
    except av.error.FFmpegError as error:
        raise decoding_error(error, f"cannot be opened: {shown(path)}") from error


def decoding_error(error: Exception, what: str) -> ClipError:
    """Return the `ClipError` for an error of PyAV."""
    if isinstance(error, MemoryError):
        return ClipError("out-of-memory", what)
    return ClipError("unreadable", f"{what} ({getattr(error, 'strerror', None) or error})")


def video_stream(container: Any) -> Any | None:
    """Return the video stream that `choose_video` chooses, or None."""
    return choose_video(container)[0]


def choose_video(container: Any) -> tuple[Any | None, tuple[str, ...]]:
    """Choose the video stream to read, None without one. Also returns a warning when there was a choice.

    Covers and thumbnails do not count. Of the others it is the one flagged as default, else the largest, else
    the first. A flagged preview is skipped, because muxers flag the first stream by default.
    """
    from av.stream import Disposition

    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    found = [stream for stream in container.streams.video if not stream.disposition & pictures]
    if len(found) <= 1:
        return (found[0] if found else None), ()
    largest = max(map(_pixels, found))
    flagged = [
        stream
        for stream in found
        if stream.disposition & Disposition.default and _pixels(stream) * _PREVIEW_FACTOR >= largest
    ]
    chosen = max(flagged or found, key=_pixels)  # the first of the largest
    size = (
        f"{chosen.codec_context.width}x{chosen.codec_context.height}"
        if chosen.codec_context
        else "unknown size"
    )
    return chosen, (f"{len(found)} video streams: stream {chosen.index} of {size} is used",)


def _pixels(stream: Any) -> int:
    """Pixels of a picture; 0 where there is no decoder."""
    context = stream.codec_context
    return context.width * context.height if context else 0


def default_sound(streams: Sequence[Any]) -> int:
    """Return the position in `streams` (at least one) of the sound stream that players use.

    The first one that is marked as the default and is no comment and no track for the impaired; else the
    first that is marked; else the first that is no such track; else the first.
    """
    from av.stream import Disposition

    special = Disposition.comment | Disposition.hearing_impaired | Disposition.visual_impaired
    marked = [place for place, stream in enumerate(streams) if stream.disposition & Disposition.default]
    plain = [place for place, stream in enumerate(streams) if not stream.disposition & special]
    both = [place for place in marked if place in plain]
    return (both or marked or plain or [0])[0]


def read_only(stream: Any) -> None:
    """Let the demuxer skip all other streams of the file; they are not read where the format allows."""
    from av.stream import Discard

    for other in stream.container.streams:
        if other.index != stream.index:
            other.discard = Discard.all


def prepare_decoder(stream: Any) -> Any:
    """Return the codec context of `stream`, with a size limit, and one thread so that flags hold per packet.

    Raises `ClipError('unreadable')` when there is no decoder for the stream.
    """
    context = stream.codec_context
    if context is None:
        raise ClipError("unreadable", f"no decoder for {stream.type} stream {stream.index}")
    context.thread_count = 1
    context.options = {"max_pixels": str(MAX_PIXELS)}
    return context


def check_size(width: int, height: int) -> None:
    """Raise `ClipError('too-large')` for pictures that no clip has."""
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise ClipError("too-large", f"pictures of {width}x{height}, at most {MAX_PIXELS} pixels are read")


def shown(path: Path) -> str:
    """Return the name of `path` for messages, without the folder, which differs between machines."""
    # Names need not be UTF-8; messages must be.
    return path.name.encode("utf-8", "backslashreplace").decode()
