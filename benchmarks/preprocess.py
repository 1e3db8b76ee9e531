"""Cost of preprocessing: against a bare decode, against the releases' way, and two workers against one.

Ours is the whole command, imports and shard writing included, for both kinds of fbank. Two bare decodes side
by side are measured to compare two workers with: cores of a virtual machine may share what is beneath them.
"""

from __future__ import annotations

import io
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from clips import make_clips
from measurement import Cost, Figure, MeasurementError, cost_of
from stgcma.preprocess.collections.specification import FBANK_KINDS
from stgcma.preprocess.media.ffmpeg_program import ffmpeg_executable
from stgcma.shards.manifest import read_manifest
from stgcma.shards.reader import ClipReader, clip_places

RELEASES = Path(__file__).with_name("releases.py")


def figures(scratch: Path, *, quick: bool) -> list[Figure]:
    """CPU-seconds a clip, and the wall time of two workers."""
    count, distinct, rounds = (8, 2, 1) if quick else (96, 8, 3)
    raw = scratch / "raw"
    clips = make_clips(raw, count, kind="film", distinct=distinct)
    out, folders = scratch / "shards", scratch / "folders"
    ours, bare, theirs, one, two = [], [], [], [], []
    decoded: dict[int, list[float]] = {1: [], 2: []}

    def alone() -> None:
        cost = preprocess(raw, out, 1)
        ours.append(cost.cpu_seconds / count)
        one.append(cost.seconds / count)

    def both() -> None:
        two.append(preprocess(raw, out, 2).seconds / count)

    def decode() -> None:
        originals = 2 * clips[:distinct]  # the others are copies of these
        for workers in (1, 2):
            began = time.monotonic()
            with ThreadPoolExecutor(workers) as pool:
                spent = list(pool.map(_decode_to_nothing, originals))
            decoded[workers].append(len(originals) / (time.monotonic() - began))
            if workers == 1:
                bare.append(sum(spent) / len(spent))

    def release() -> None:
        shutil.rmtree(folders, ignore_errors=True)
        cost = cost_of([sys.executable, str(RELEASES), str(raw), str(folders)])
        theirs.append(cost.cpu_seconds / count)

    turns = [alone, both, decode, release]
    for _ in range(rounds):
        for measure in turns:
            measure()
        turns.reverse()
    _check(out, folders)
    what = f"{count} clips of 10 s, H.264 with B-frames, 640×360, {clips[0].stat().st_size / 1e6:.1f} MB"
    light = _light(scratch, count=count, distinct=distinct, rounds=rounds)
    return [
        light,
        Figure(
            "preprocess", "CPU-s a clip", "`ffmpeg -threads 1` decodes it to nothing", ours, bare, 0.7,
            note=f"{what}; the whole command",
        ),
        Figure(
            "preprocess", "CPU-s a clip", "the releases' way: 8 fps JPEGs and wav, then fbanks", ours, theirs,
            0.4, note=what,
        ),
        Figure(
            "preprocess, clips a second with 2 workers", "clips/s", "1 worker", [1 / each for each in two],
            [1 / each for each in one], 1.9, at_least=True,
        ),
        Figure(
            "`ffmpeg -threads 1` decodes to nothing, two side by side", "clips/s", "one at a time",
            decoded[2], decoded[1], note="what this machine gives two workers that only decode",
        ),
    ]  # fmt: skip


def _light(scratch: Path, *, count: int, distinct: int, rounds: int) -> Figure:
    """CPU-seconds a clip where pictures cost little, against a bare decode."""
    raw, out = scratch / "light", scratch / "light-shards"
    clips = make_clips(raw, count, kind="light", distinct=distinct)
    ours, bare = [], []
    for _ in range(rounds):
        ours.append(preprocess(raw, out, 1).cpu_seconds / count)
        bare.append(sum(map(_decode_to_nothing, clips[:distinct])) / distinct)
    return Figure(
        "preprocess, a light clip", "CPU-s a clip", "`ffmpeg -threads 1` decodes it to nothing", ours, bare,
        0.8, note=f"{count} clips of 10 s, a test pattern, 640×360, {clips[0].stat().st_size / 1e6:.1f} MB",
    )  # fmt: skip


def preprocess(raw: Path, out: Path, workers: int) -> Cost:
    """Runs the command, into a new `out`."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "stgcma", "preprocess", "folder", str(raw), str(out)]
    return cost_of([*command, "--workers", str(workers)])


def _decode_to_nothing(clip: Path) -> float:
    command = [ffmpeg_executable(), "-v", "error", "-threads", "1", "-i", str(clip), "-f", "null", "-"]
    return cost_of(command).cpu_seconds


def _check(out: Path, folders: Path) -> None:
    """Refuses sides whose fbanks are not nearly the same; the sound is resampled by different filters.

    Looks at the first clip's, of both kinds.
    """
    manifest = read_manifest(str(out))
    reader = ClipReader(str(out))
    members = reader.read(clip_places(manifest)[0])
    reader.close()
    theirs = sorted((folders / Path(manifest[0].source).stem).glob("fbank_*.npy"))
    if len(theirs) != len(FBANK_KINDS):
        raise MeasurementError(f"the other side made {len(theirs)} kinds of fbank")
    for path in theirs:
        mine, other = np.load(io.BytesIO(members[path.name])).astype(np.float32), np.load(path)
        frames = min(mine.shape[1], other.shape[1])
        difference = np.abs(mine[:, :frames] - other[:, :frames]).mean()
        if difference > 0.5:
            raise MeasurementError(f"{path.name}: the sides differ by {difference:.2f} on average")
