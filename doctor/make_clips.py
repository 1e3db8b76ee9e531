"""Encode the built-in clips again: python -m stgcma.doctor.make_clips

Needs an ffmpeg with libx264, libx265, libvpx, SVT-AV1, Opus and LAME, such as the one of imageio-ffmpeg.
"""

from __future__ import annotations

import subprocess

from ..preprocess.media.ffmpeg_program import ffmpeg_executable
from . import clips


def make(clip: clips.Clip) -> None:
    """Write the file of `clip`. Raises CalledProcessError when ffmpeg cannot encode it."""
    left = f"{clips.LEFT_LUMA_FIRST}+{clips.LEFT_LUMA_STEP}*N"
    stripes = f"{clips.STRIPES_LUMA}+{clips.STRIPES_AMPLITUDE}*sin(2*PI*(X+Y+2*N)/16)"
    on_left = f"lt(X,{clips.PIXELS // 2})"
    chroma_on_left = f"lt(X,{clips.PIXELS // 4})"  # 4:2:0 has half as many columns of chroma
    blue, red = (
        f"if({chroma_on_left},{of_left},{of_right})"
        for of_left, of_right in zip(clips.LEFT_CHROMA, clips.STRIPES_CHROMA, strict=True)
    )
    picture = (
        f"nullsrc=s={clips.PIXELS}x{clips.PIXELS}:r={clips.FPS}:d={clips.SECONDS},format=yuv420p,"
        f"geq=lum='if({on_left},{left},{stripes})':cb='{blue}':cr='{red}'"
    )
    tone = f"aevalsrc={clips.TONE_AMPLITUDE}*sin(2*PI*{clips.TONE_HZ}*t):s=48000:d={clips.SECONDS}"
    subprocess.run(
        [
            *(ffmpeg_executable(), "-nostdin", "-y", "-v", "error"),
            *("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone),
            *(*clip.video, "-pix_fmt", "yuv420p", "-threads", "1", *clip.audio),
            *("-map_metadata", "-1", "-fflags", "+bitexact", "-flags", "+bitexact"),
            str(clip.path),
        ],
        check=True,
    )


if __name__ == "__main__":
    for each in clips.CLIPS:
        make(each)
