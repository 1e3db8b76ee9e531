"""Decoding with the `ffmpeg` executable: everything is decoded, the chosen frames are written out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from ..container import shown
from ..ffmpeg_process import ffmpeg_input, run_ffmpeg
from ..ffmpeg_program import ffmpeg_version
from ..probe import ClipError, DamageError, MediaInfo, probe
from .frames import Choose, Decoder, Frames, check_bytes, chosen_indices
from .pyav import displayed_timeline
from .shown import shown_pictures
from .timeline import read_timeline

if TYPE_CHECKING:
    from pathlib import Path

NAME = "ffmpeg"


def read_frames(path: Path, choose: Choose, *, info: MediaInfo | None = None) -> Frames:
    """Return the frames of `path` that `choose` picks from all presentation times, upright.

    The frames are found by the timestamps that ffmpeg's own decoder gives them; where packets have none, they
    are counted. Raises `ClipError`: those of `probe`, 'no-video', 'truncated', 'too-large'; `DamageError`
    where a picture up to the last chosen one does not decode; `ValueError` for invalid indices from `choose`.
    """
    info = probe(path) if info is None else info
    if info.video is None:
        raise ClipError("no-video", "the file has no video stream")
    timeline = read_timeline(info)
    counted = not timeline.complete
    if counted:
        timeline = displayed_timeline(info, timeline)
    times = timeline.times_seconds
    indices = chosen_indices(choose, times)
    unique, rows = np.unique(indices, return_inverse=True)
    check_bytes(len(unique), *info.video.square_size)

    numbers = unique if counted else timeline.visible[unique]
    # Without this, pictures of another size than the first would be resized; so ffmpeg fails for them.
    width, height = info.video.width, info.video.height
    same_size = f"crop=w='if(eq(in_w,{width})*eq(in_h,{height}),in_w,2*in_w)'"
    wanted = "+".join(f"eq({'n' if counted else 'pts'},{number})" for number in numbers)
    # Chosen frames are rotated later. `interl=-1` and `neighbor` are as with PyAV: chroma of interlaced
    # pictures belongs to its field, and is not interpolated.
    matrix = f":in_color_matrix={info.video.matrix}" if info.video.matrix else ""
    output = ffmpeg_input(noautorotate=None)[str(info.video.index)].output(
        "pipe:",
        format="rawvideo",
        vcodec="rawvideo",
        fps_mode="passthrough",
        vf=f"{same_size},settb={timeline.time_base},select='{wanted}',scale=interl=-1:flags=neighbor{matrix},format=rgb24",
        **{"frames:v": len(unique)},
    )
    written, failure = run_ffmpeg(path, output.global_args("-xerror"))
    if failure is not None:
        # Its threads stop at the first damage; their message depends on the progress of each.
        logging.getLogger(__name__).info("%s: %s", shown(path), failure)
        raise DamageError("unreadable", "its pictures do not decode")
    expected = len(unique) * info.video.height * info.video.width * 3
    if len(written) != expected:
        raise ClipError(
            "unreadable", f"ffmpeg wrote {len(written)} bytes for {len(unique)} frames, not {expected}"
        )
    images = np.frombuffer(written, dtype=np.uint8).reshape(
        len(unique), info.video.height, info.video.width, 3
    )
    return Frames(shown_pictures(images, info.video)[rows], times[indices], NAME)


DECODER = Decoder(read=read_frames, version=ffmpeg_version, order=2)
