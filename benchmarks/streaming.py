"""Streaming the shards without decoding, against Python's `tarfile` reading every member in stream mode."""

from __future__ import annotations

import tarfile
import time
from pathlib import Path

import numpy as np
from measurement import Figure, MeasurementError, in_turns
from stgcma.shards.manifest import read_manifest
from stgcma.shards.reader import ClipReader, clip_places
from stgcma.shards.schema import SHARD_FOLDER
from synthetic import write_directory

# As real members are: a frame, and an fbank of ten windows.
FRAME_BYTES, FBANK_BYTES = 24_000, 261_000


def figures(scratch: Path, *, quick: bool) -> list[Figure]:
    """Bytes a second of the members' contents, one process, from the page cache."""
    out = write_directory(scratch / "shards", {"train": 200 if quick else 2000}, make=_members)
    total: list[int] = []

    def ours() -> float:
        started = time.perf_counter()
        reader = ClipReader(str(out))
        size = 0
        for place in clip_places(read_manifest(str(out))):
            size += sum(map(len, reader.read(place).values()))
        reader.close()
        total.append(size)
        return size / (time.perf_counter() - started) / 1e6

    def theirs() -> float:
        started = time.perf_counter()
        size = 0
        for shard in sorted((out / SHARD_FOLDER).glob("*.tar")):
            with tarfile.open(shard, "r|") as archive:  # a larger bufsize makes it slower
                for member in archive:
                    content = archive.extractfile(member)
                    size += len(content.read()) if content else 0
        total.append(size)
        return size / (time.perf_counter() - started) / 1e6

    ours(), theirs()  # both from the page cache
    spent = in_turns(3 if quick else 7, ours, theirs)
    if len(set(total)) != 1:
        raise MeasurementError(f"the sides read {sorted(set(total))} bytes")
    note = f"{total[0] / 1e6:,.0f} MB in the page cache, manifest included, no hashes checked"
    return [
        Figure(
            "streaming the shards", "MB/s", "`tarfile` in stream mode, every member", *spent, 0.9,
            at_least=True, note=note,
        )
    ]  # fmt: skip


def _members(number: int) -> dict[str, bytes]:
    content = np.random.default_rng(number).bytes(FRAME_BYTES)
    frames = {f"frame_{index:02d}.jpg": content for index in range(10)}
    return frames | {"fbank_128.npy": content * (FBANK_BYTES // FRAME_BYTES), "label.npy": bytes(148)}
