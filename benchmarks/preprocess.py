"""What preprocessing costs: CPU-seconds a clip against a bare ffmpeg decode, and two workers against one.

    python benchmarks/preprocess.py [--clips 320] [--rounds 3] [--kinds light film]

The clips are made here: 10 s, 640x360, 25 fps, H.264 with B-frames, AAC sound; `light` is a test pattern of
1 MB, `film` has moving detail under grain as camera footage does. Ours is the whole command, imports and
shard writing included, for both kinds of fbank; the baseline decodes the same files with `ffmpeg -threads 1`
and keeps nothing. Sides take turns; the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stgcma.preprocess.audio import ffmpeg_executable

PICTURES = {
    "light": ("testsrc2=s=640x360:r=25:d=10", "23"),
    "film": ("mandelbrot=s=640x360:r=25,trim=duration=10,noise=alls=12:allf=t", "25"),
}


def make_clips(folder: Path, kind: str, count: int) -> list[Path]:
    """Encodes one clip and copies it under other names."""
    folder.mkdir(parents=True)
    picture, quality = PICTURES[kind]
    inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "anoisesrc=d=10:c=pink:r=44100"]
    encoder = ["-c:v", "libx264", "-bf", "3", "-crf", quality, "-pix_fmt", "yuv420p"]
    output = [*encoder, "-c:a", "aac", "-t", "10"]
    first = folder / "clip_000.mp4"
    subprocess.run([ffmpeg_executable(), "-v", "error", *inputs, *output, str(first)], check=True)
    clips = [first]
    for number in range(1, count):
        clips.append(folder / f"clip_{number:03d}.mp4")
        shutil.copy(first, clips[-1])
    return clips


def cost(command: list[str]) -> tuple[float, float]:
    """(CPU-seconds, wall seconds) of a command and all that it starts."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed with status {status}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - started


def preprocess(raw: Path, out: Path, workers: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "stgcma", "preprocess", "folder", str(raw), str(out)]
    spent = cost([*command, "--workers", str(workers)])
    shutil.rmtree(out)
    return spent


def decode_to_nothing(clips: list[Path]) -> float:
    command = [ffmpeg_executable(), "-v", "error", "-threads", "1", "-i"]
    return sum(cost([*command, str(clip), "-f", "null", "-"])[0] for clip in clips)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=list(PICTURES), default=list(PICTURES))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for kind in options.kinds:
            raw = Path(scratch) / kind
            clips = make_clips(raw / "clip", kind, options.clips)
            ours, bare, ratio, speedup = [], [], [], []
            for _ in range(options.rounds):
                one, wall_one = preprocess(raw, Path(scratch) / "out", 1)
                decode = decode_to_nothing(clips)
                _, wall_two = preprocess(raw, Path(scratch) / "out", 2)
                ours.append(one / len(clips))
                bare.append(decode / len(clips))
                ratio.append(one / decode)
                speedup.append(wall_one / wall_two)
            size = clips[0].stat().st_size / 1e6
            print(f"{kind}: {len(clips)} clips of {size:.1f} MB, medians of {options.rounds} (least to most)")
            for name, values in (
                ("preprocess, CPU-s a clip", ours),
                ("ffmpeg -threads 1 to nothing, CPU-s a clip", bare),
                ("ratio", ratio),
                ("wall, 1 worker / 2 workers", speedup),
            ):
                print(f"  {name}: {statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    main()
