"""A video with a picture a second laid over it, written with ffmpeg."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from ..preprocess import Limits
from ..preprocess.media.container import DEMUXERS, MAX_PIXELS, file_url
from ..preprocess.media.ffmpeg_process import convert
from ..preprocess.media.probe import MediaInfo

# How many pixels the shorter side has at most. The model sees 224, and encoding is dear.
MOST_PIXELS = 360
# Slower than this, something hangs.
_SECONDS_A_SECOND = 30.0
_SECONDS_TO_START = 120.0


def overlay_size(width: int, height: int) -> tuple[int, int]:
    """The width and height of the overlay of such an upright video: its own, unless that is too large."""
    scale = MOST_PIXELS / min(width, height)
    return (width, height) if scale >= 1 else (2 * round(width * scale / 2), 2 * round(height * scale / 2))


def write_overlay(
    info: MediaInfo,
    layers: Path,
    size: tuple[int, int],
    shown_at_seconds: float,
    target: Path,
    *,
    on_seconds: Callable[[float], None],
) -> None:
    """Writes the video as H.264 and AAC in MP4, upright, at `size`, with its own times and sound.

    A size that is odd gains a row or a column, as its pixel format needs an even one.

    layers: the folder of `000000.png` …, of that size. Each belongs to the moment `shown_at_seconds` of its
        second, and is shown while no other is nearer.
    size: width and height, as `overlay_size` gives them.
    on_seconds: is told how far the written video goes.

    Raises ClipError where ffmpeg fails or hangs.
    """
    # The first picture has no layer before it: it is shown from the beginning by being there twice.
    count = len(list(layers.iterdir()))
    for number in range(count - 1, -1, -1):
        (layers / f"{number:06d}.png").rename(layers / f"{number + 1:06d}.png")
    shutil.copyfile(layers / "000001.png", layers / "000000.png")
    # ffmpeg's clock starts with the earliest stream. The layers' own, of a tick a second, is too coarse.
    first_layer = info.clip_start_seconds - info.start_seconds + shown_at_seconds - 0.5 - 1.0
    video = info.video
    index = 0 if video is None else video.index
    # Set upright by the same steps as the frames, not by ffmpeg, whose tag must then not reach the output.
    upright = () if video is None else (*video.orientation.ffmpeg_filters(), "sidedata=delete:DISPLAYMATRIX")
    if video is not None and video.interlaced:
        upright = ("field=top", *upright)  # at half the height, until it is scaled
    steps = ",".join((*upright, f"scale={size[0]}:{size[1]}:flags=bilinear", "setsar=1"))
    filters = (
        f"[1:v]settb=AVTB,setpts=PTS+({first_layer!r})/TB[layers];"
        f"[0:{index}]{steps}[video];"
        "[video][layers]overlay=eof_action=repeat,pad=ceil(iw/2)*2:ceil(ih/2)*2[out]"
    )
    limits = ("-protocol_whitelist", "file", "-max_pixels", str(MAX_PIXELS))
    sound: tuple[str, ...] = ()
    if info.audio is not None:
        codec = ("copy",) if info.audio.codec == "aac" else ("aac", "-b:a", "160k")
        sound = ("-map", f"0:{info.audio.index}", "-c:a", *codec)
    arguments = (
        *limits, "-noautorotate", "-format_whitelist", ",".join(DEMUXERS), "-i", file_url(info.path),
        *limits, "-f", "image2", "-framerate", "1", "-start_number", "0", "-i", "%06d.png",
        "-filter_complex", filters, "-map", "[out]", *sound,
        "-c:v", "libx264", "-preset", "superfast", "-crf", "23", "-pix_fmt", "yuv420p",
        "-fps_mode", "passthrough", "-enc_time_base", "demux",
        "-map_metadata", "-1", "-movflags", "+faststart", "-f", "mp4", file_url(target),
    )  # fmt: skip
    limit = _SECONDS_TO_START + _SECONDS_A_SECOND * count
    convert(
        info.path,
        arguments,
        folder=layers,
        timeout_seconds=limit,
        memory_bytes=Limits().memory_bytes,
        on_seconds=on_seconds,
    )
