"""CPU-seconds to decode one clip, against `ffmpeg -threads 1` that merely decodes it to nothing.

    python benchmarks/decode.py [--repeats 7] [--codec hevc]

The clip is made here: 10 s, 640x360, 25 fps, H.264 with B-frames, moving shapes under film grain, AAC. The
sides take turns, so that a machine that slows down slows all of them. User and system time count, of this
process and of the programs it starts; libraries are loaded before.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from stgcma.preprocess.audio import ffmpeg_executable, read_waveform
from stgcma.preprocess.media import probe
from stgcma.preprocess.video import decoder_versions, evenly, read_frames

FRAMES = 10
BASELINE = "ffmpeg -threads 1 -f null"


def make_clip(path: Path, *, codec: str) -> None:
    """Writes the clip to `path`."""
    picture = "testsrc2=s=640x360:r=25:d=10,noise=alls=8:allf=t"
    sound = "anoisesrc=d=10:c=pink:r=44100"
    encoder = {"h264": ["libx264", "-bf", "3"], "hevc": ["libx265", "-x265-params", "log-level=error"]}[codec]
    inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
    output = ["-c:v", *encoder, "-crf", "28", "-pix_fmt", "yuv420p", "-c:a", "aac", str(path)]
    subprocess.run([ffmpeg_executable(), "-v", "error", *inputs, *output], check=True)


def cpu_seconds() -> float:
    """User and system time so far, of this process and its children that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def decode_to_nothing(path: Path) -> None:
    command = [ffmpeg_executable(), "-v", "error", "-threads", "1", "-i", str(path), "-f", "null", "-"]
    subprocess.run(command, check=True)


def everything(path: Path) -> None:
    """All that turning a file into frames and a waveform takes."""
    info = probe(path)
    read_frames(path, lambda times: evenly(times, FRAMES), info=info)
    read_waveform(path, info=info)


def sides(path: Path) -> dict[str, Callable[[], object]]:
    info = probe(path)

    def frames_by(decoder: str) -> Callable[[], object]:
        return lambda: read_frames(path, lambda times: evenly(times, FRAMES), decoder=decoder, info=info)

    return {
        BASELINE: lambda: decode_to_nothing(path),
        "everything (probe, frames, waveform)": lambda: everything(path),
        "probe": lambda: probe(path),
        "waveform": lambda: read_waveform(path, info=info),
        **{f"{FRAMES} frames, {decoder}": frames_by(decoder) for decoder in ("pyav", "decord", "ffmpeg")},
    }


def measure(path: Path, repeats: int) -> dict[str, list[float]]:
    """CPU-seconds [repeats] of each side."""
    runs = sides(path)
    for run in runs.values():
        run()
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            before = cpu_seconds()
            run()
            spent[name].append(cpu_seconds() - before)
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--codec", choices=("h264", "hevc"), default="h264")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        make_clip(path, codec=arguments.codec)
        print(f"{arguments.codec}, {path.stat().st_size / 1e6:.1f} MB,", decoder_versions())
        spent = measure(path, arguments.repeats)
    baseline = statistics.median(spent[BASELINE])
    print(f"{'':38} {'median':>8} {'min':>8} {'max':>8} {'ratio':>7}")
    for name, values in spent.items():
        median = statistics.median(values)
        print(f"{name:38} {median:8.3f} {min(values):8.3f} {max(values):8.3f} {median / baseline:7.2f}")


if __name__ == "__main__":
    main()
