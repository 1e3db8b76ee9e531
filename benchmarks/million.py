"""A million clips from plan to finished directory, with a stub in place of decoding.

The clips are empty files of the collection `labels`; their samples are a picture and an fbank that are the
same for all, or ten of them of usual size with STGCMA_FRAMES=10. The run is killed when half of its shards
are made, and repeated; then the directory is verified. Each is a process of its own.

    python benchmarks/million.py build CLIPS OUT [UNTIL]    # makes OUT, or kills itself after UNTIL shards
    python benchmarks/million.py verify OUT [WORKERS]       # both print seconds and bytes as JSON
    python benchmarks/million.py whole CLIPS OUT            # all of it, as rows of a table; removes OUT
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from measurement import Figure, measured_apart, resident_bytes
from PIL import Image
from planning import write_labels

if TYPE_CHECKING:
    from stgcma.preprocess.collections.specification import ClipSpecification, Collection
    from stgcma.preprocess.pipeline.shard_plan import ShardTask
    from stgcma.preprocess.pipeline.shard_result import ShardResult
    from stgcma.shards.schema import Sample

FEW, MANY = 100_000, 1_000_000
FRAMES = int(os.environ.get("STGCMA_FRAMES", "1"))
CLIPS_PER_SHARD = 512 if FRAMES == 1 else 128


def figures(scratch: Path, *, quick: bool) -> list[Figure]:
    """Time a clip and memory of the coordinating process, and the time of a resumed run before it works."""
    few, many = (2_000, 20_000) if quick else (FEW, MANY)
    runs = {clips: _whole(scratch / str(clips), clips) for clips in (many, few)}
    ours, theirs = runs[many], runs[few]
    what, baseline = f"{many:,} clips without decoding", f"{few:,} clips"

    def figure(name: str, unit: str, key: str, target: float | None = None, scale: float = 1.0) -> Figure:
        sides = [scale * ours[key]], [scale * theirs[key]]
        return Figure(f"{what}: {name}", unit, baseline, *sides, target)

    return [
        figure("time a clip", "ms", "clip_seconds", 1.2, 1e3),
        figure("memory of the coordinating process", "MiB", "bytes", None, 2**-20),
        figure("from the start of a repeated run to its first new clip", "s", "resume_seconds"),
        figure("verification", "MB/s", "verified_megabytes_a_second"),
    ]


def _whole(out: Path, clips: int) -> dict[str, float]:
    shards = clips // CLIPS_PER_SHARD
    command = [sys.executable, __file__, "build", str(clips), str(out), str(shards // 2)]
    killed = subprocess.run(command, capture_output=True, text=True)
    if killed.returncode != -signal.SIGKILL:
        raise RuntimeError(f"{' '.join(command)} ended with {killed.returncode}: {killed.stderr[-2000:]}")
    half = json.loads(killed.stdout.splitlines()[-1])
    run = measured_apart(__file__, "build", clips, out)
    run["clip_seconds"] = (half["seconds"] + run["seconds"]) / clips
    run |= measured_apart(__file__, "verify", out)
    shutil.rmtree(out)
    shutil.rmtree(out.with_name(f"{out.name}-raw"))
    return run


def _show(run: dict[str, float]) -> None:
    """Print the rows of the table in docs/performance.md."""
    rows = {
        "time a clip, both runs": f"{run['clip_seconds'] * 1e3:.2f} ms",
        "memory of the coordinating process": f"{run['bytes'] / 2**20:.0f} MiB",
        "from the start of the repeated run to its first new clip": f"{run['resume_seconds']:.1f} s",
        "directory": f"{run['directory_bytes'] / 1e9:.2f} GB",
        "verification": f"{run['verify_seconds']:.0f} s, {run['verify_cpu_seconds']:.0f} CPU-s",
    }
    for name, value in rows.items():
        print(f"| {name} | {value} |")


def _read(raw: Path, out: Path) -> tuple[Collection, Callable[[], Iterable[str]]]:
    """Return the collection as `preprocess` does, with clips of one frame, and what is done before work."""
    from stgcma.preprocess.collections import COLLECTIONS
    from stgcma.preprocess.collections.clip_list import collector_paused
    from stgcma.preprocess.collections.preflight import inspect
    from stgcma.preprocess.collections.specification import Sampling
    from stgcma.preprocess.pipeline import raw_state
    from stgcma.preprocess.pipeline.stored_plan import StoredPlan

    raw_state.SETTLED_SECONDS = 0.0  # the files were written just now
    stored = StoredPlan(out, raw, {"raw": str(raw)}, every_file=False)
    found = stored.load()
    if found is not None:
        known = found.preflight
        return found.collection, lambda: known
    stored.begin()
    with collector_paused():
        collection = COLLECTIONS["labels"].read(raw)
    collection = replace(collection, sampling=Sampling(FRAMES, "evenly", "crop", FRAMES, 1.0))

    def preflight() -> tuple[str, ...]:
        lines = tuple(inspect(collection, raw).lines())
        stored.keep(collection, lines)
        return lines

    return collection, preflight


@cache
def _members() -> dict[str, bytes]:
    noise = np.random.default_rng(0).integers(0, 12, (224, 224, 3))
    waves = 128 + 90 * np.sin(np.arange(224) / 9)[:, None, None] * np.cos(np.arange(224) / 7)[None, :, None]
    pixels = (waves + noise).astype(np.uint8) if FRAMES > 1 else np.full((224, 224, 3), 120, np.uint8)
    picture, fbank = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).save(picture, "JPEG", quality=95)
    np.save(fbank, np.ones((FRAMES, 102 if FRAMES > 1 else 2, 128), np.float16))
    frames = {f"frame_{number:02d}.jpg": picture.getvalue() for number in range(FRAMES)}
    return frames | {"fbank_128.npy": fbank.getvalue()}


@dataclass
class _Stub:
    """Makes samples at once, and remembers when the first was asked for."""

    first: float = 0.0

    def __call__(self, clip: ClipSpecification) -> Sample:
        from stgcma.shards.schema import Sample

        self.first = self.first or time.monotonic()
        sums = {"fbank_128": (256.0, 256.0, 256)}
        return Sample(
            clip.key, _members() | dict(clip.members), dict(clip.fields), clip.source, 1.0, 25.0, True,
            "pyav", fbank_sums=sums,
        )  # fmt: skip


@dataclass
class _Engine:
    """Makes shards in this process; kills it after `until` of them."""

    until: int
    ended: Callable[[], None]
    made: int = field(default=0)

    def __call__(
        self, tasks: Sequence[ShardTask], make: Any, folder: str, *, on_clip: Any, **_: Any
    ) -> Generator[ShardResult]:
        from stgcma.preprocess.pipeline.engines import make_shard

        for task in tasks:
            yield make_shard(task, make, self, folder, on_clip)  # type: ignore[arg-type]
            self.made += 1
            if self.made == self.until:
                self.ended()
                os.kill(os.getpid(), signal.SIGKILL)

    @staticmethod
    def map(function: Any, items: Any) -> Iterator[tuple[Any, Any]]:
        """Call `function` for each item here."""
        return ((item, function(item)) for item in items)


def _build(clips: int, out: Path, until: int) -> None:
    from stgcma.preprocess.collections.specification import FeatureSettings
    from stgcma.preprocess.pipeline.build import build
    from stgcma.preprocess.pipeline.options import Options

    raw = out.with_name(f"{out.name}-raw")
    if not raw.exists():
        write_labels(raw, clips)
    began = time.monotonic()
    stub = _Stub()

    def tell() -> None:
        content = {
            "seconds": time.monotonic() - began,
            "cpu_seconds": time.process_time(),
            "resume_seconds": stub.first - began,
            "bytes": resident_bytes("VmHWM"),
        }
        print(json.dumps(content), flush=True)

    collection, preflight = _read(raw, out)
    features = FeatureSettings(collection.sampling, ("clip",)).to_json()
    engine = _Engine(until, tell)
    options = Options(features=("clip",))
    build(
        collection, stub, features, out, options,
        preflight=preflight, engine=engine, clips_per_shard=CLIPS_PER_SHARD,
    )  # fmt: skip
    tell()


def _verify(out: Path, workers: int) -> None:
    from stgcma.shards.verification import verify

    began = time.monotonic()
    result = verify(out, workers=workers)
    seconds = time.monotonic() - began
    if result.faults:
        raise RuntimeError(str(result.faults[:3]))
    content = {
        "verify_seconds": seconds,
        "verify_cpu_seconds": time.process_time() + sum(os.times()[2:4]),
        "verified_megabytes_a_second": result.bytes / seconds / 1e6,
        "verify_bytes": resident_bytes("VmHWM"),
        "directory_bytes": result.bytes,
    }
    print(json.dumps(content))


if __name__ == "__main__":
    if sys.argv[1] == "build":
        _build(int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 0)
    elif sys.argv[1] == "verify":
        _verify(Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else os.cpu_count() or 1)
    elif sys.argv[1] == "whole":
        _show(_whole(Path(sys.argv[3]), int(sys.argv[2])))
