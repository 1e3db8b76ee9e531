"""A video with a picture for every second laid over it, written with ffmpeg."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from ..preprocess import Limits
from ..preprocess.media.container import DEMUXERS, MAX_PIXELS, file_url
from ..preprocess.media.ffmpeg_process import convert
from ..preprocess.media.probe import MediaInfo

# The most pixels of the shorter side. Masks have 224, and encoding more pixels takes long.
MOST_PIXELS = 360
# A process that takes longer hangs.
_SECONDS_A_SECOND = 30.0
_SECONDS_TO_START = 120.0


def overlay_size(width: int, height: int) -> tuple[int, int]:
    """Return the size of the overlay of an upright `width`×`height` video: reduced to even sides if large."""
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
    """Write a video as H.264 and AAC in MP4, upright, with the times and the sound of the original.

    An odd size gains a row or a column, as the pixel format needs an even one.

    Args:
        info: facts of the video.
        layers: the folder of `000000.png` …, one for each second, of `size`; its files are renamed.
        size: width and height, as `overlay_size` returns them.
        shown_at_seconds: the time within its second that a layer belongs to. It is shown as long as no other
            layer is nearer.
        target: the file to write.
        on_seconds: called with the length that is written so far.

    Raises ClipError when ffmpeg fails or hangs.
    """
    # A second copy of the first layer precedes it, so that the video begins with it.
    count = len(list(layers.iterdir()))
    for number in range(count - 1, -1, -1):
        (layers / f"{number:06d}.png").rename(layers / f"{number + 1:06d}.png")
    shutil.copyfile(layers / "000001.png", layers / "000000.png")
    # The clock of ffmpeg starts with the earliest stream. The layers' time base of 1 s is too coarse.
    first_layer = info.clip_start_seconds - info.start_seconds + shown_at_seconds - 0.5 - 1.0
    video = info.video
    index = 0 if video is None else video.index
    # Rotated by the steps that frames are, not by ffmpeg; its rotation tag must not reach the output.
    upright = () if video is None else (*video.orientation.ffmpeg_filters(), "sidedata=delete:DISPLAYMATRIX")
    if video is not None and video.interlaced:
        upright = ("field=top", *upright)  # half the height, before scaling
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
