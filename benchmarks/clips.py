"""The videos that are measured on: encoded here, 10 s of 640x360 at 25 fps with sound."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from stgcma.preprocess.media.ffmpeg_program import ffmpeg_executable

SECONDS = 10
# A test pattern of 1 MB; moving detail under grain, as camera footage has; the same without grain.
PICTURES = {
    "light": ("testsrc2=s=640x360:r=25:d=10", "23"),
    "film": ("mandelbrot=s=640x360:r=25:start_x={x},trim=duration=10,noise=alls=12:allf=t", "25"),
    "clean": ("mandelbrot=s=640x360:r=25:start_x={x},trim=duration=10", "23"),
}


def make_clips(raw: Path, count: int, *, kind: str = "film", distinct: int | None = None) -> list[Path]:
    """Encodes H.264 with B-frames and AAC as RAW/class_0/*.mp4 and RAW/class_1/*.mp4.

    Only the first `distinct` clips are encoded; the others are copies of them under other names.
    """
    picture, quality = PICTURES[kind]
    clips: list[Path] = []
    for number in range(count):
        path = raw / f"class_{number % 2}" / f"clip_{number:04d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        if distinct is not None and number >= distinct:
            shutil.copy(clips[number % distinct], path)
        else:
            seen = ["-f", "lavfi", "-i", picture.format(x=-0.74 - number / 1e4)]
            heard = ["-f", "lavfi", "-i", f"anoisesrc=d={SECONDS}:c=pink:r=44100:seed={number}"]
            video = ["-c:v", "libx264", "-bf", "3", "-crf", quality, "-pix_fmt", "yuv420p"]
            output = [*video, "-c:a", "aac", "-t", str(SECONDS), str(path)]
            subprocess.run([ffmpeg_executable(), "-v", "error", *seen, *heard, *output], check=True)
        clips.append(path)
    return clips
