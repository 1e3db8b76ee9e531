"""Clips of an unfinished shard that are made, so that an interruption costs a chunk and not the whole shard.

While a shard is made, its clips are also written to `OUT/.progress/chunks/SHARD/` in chunks: a line of JSON,
then the clips' bytes as they are in the shard. A shard that is made again also takes the intact clips of its
file, and keeps the others in a chunk until it is recorded.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from tarfile import BLOCKSIZE
from typing import Any, BinaryIO

from ...bounded import parse_object
from ...errors import InputError, StgcmaError
from ...shards.additions import Sums
from ...shards.fbank_sums import sums_of_members
from ...shards.schema import MOST_CLIP_BYTES, SHARD_FOLDER, ClipRecord, QuarantineRecord, canonical_json
from ...shards.storage import Store
from ...shards.tar_members import TarMemberError, extent_members, parse_header
from .shard_plan import ShardTask
from .shard_result import clip_record

CHUNKS_FOLDER = ".progress/chunks"
CHUNK_CLIPS = 32
CHUNK_SECONDS = 60.0
_MOST_LINE_BYTES = 64 << 20


@dataclass(frozen=True)
class MadeClip:
    """A clip that was made: its row, its bytes in the shard, and the sums of its fbanks."""

    record: ClipRecord
    extent: bytes
    sums: Mapping[str, Sums]


@dataclass(frozen=True)
class _Stored:
    """A made clip in a file: its bytes begin at byte `offset`."""

    file: str
    offset: int
    record: ClipRecord
    sums: Mapping[str, Sums]


def has_chunks(task: ShardTask) -> bool:
    """Tell whether clips of a shard may be in chunks until it is recorded."""
    return len(task.clips) > CHUNK_CLIPS or bool(task.former)


class ShardChunks:
    """Clips of the shard of `task` in the directory `store` that are made, and those that are added.

    A shard that is not larger than one chunk has no chunks, except one that is made again.
    """

    def __init__(self, store: Store, task: ShardTask) -> None:
        self._store = store
        self._task = task
        self._folder = f"{CHUNKS_FOLDER}/{task.name}"
        self._chunked = len(task.clips) > CHUNK_CLIPS
        self._waiting: dict[int, MadeClip | QuarantineRecord] = {}
        self._since = time.monotonic()
        self._names = self._chunk_names() if has_chunks(task) else []
        self._stored: dict[int, _Stored] = {}
        self._failed: dict[int, QuarantineRecord] = {}
        for name in self._names:
            self._read_chunk(name)
        if task.former:
            self._read_former()

    def __contains__(self, position: int) -> bool:
        """Tell whether the clip at `position` in the shard's plan need not be made."""
        return position in self._stored or position in self._failed

    def get(self, position: int) -> MadeClip | QuarantineRecord:
        """Return the clip at `position`. Raises StgcmaError when its bytes changed since they were found."""
        if position in self._failed:
            return self._failed[position]
        stored = self._stored[position]
        with self._store.open(stored.file) as stream:
            stream.seek(stored.offset)
            extent = stream.read(stored.record.bytes)
        if hashlib.sha256(extent).hexdigest() != stored.record.sha256:
            raise StgcmaError(f"{self._store.where(stored.file)} changed while it was read")
        return MadeClip(stored.record, extent, stored.sums)

    def add(self, position: int, made: MadeClip | QuarantineRecord) -> None:
        """Add a clip that was just made; write a chunk when it is full, or after a minute."""
        if not has_chunks(self._task):
            return
        self._waiting[position] = made
        due = len(self._waiting) >= CHUNK_CLIPS or time.monotonic() - self._since >= CHUNK_SECONDS
        if self._chunked and due:
            self._write_chunk()

    def flush(self) -> None:
        """Write the clips that are in no chunk yet."""
        if self._waiting:
            self._write_chunk()

    def _chunk_names(self) -> list[str]:
        names = self._store.folder(self._folder).names()
        return [f"{self._folder}/{name}" for name in names if name.isdecimal()]

    def _write_chunk(self) -> None:
        clips, extents = [], []
        for position, made in self._waiting.items():
            if isinstance(made, MadeClip):
                clips.append([position, made.record._asdict(), made.sums])
                extents.append(made.extent)
            else:
                clips.append([position, made._asdict(), None])
        # A new name: clips in an earlier chunk may still be read.
        number = 1 + max((int(name.rpartition("/")[2]) for name in self._names), default=-1)
        name = f"{self._folder}/{number:06d}"
        with self._store.published(name) as stream:
            stream.write(canonical_json({"clips": clips}) + b"\n")
            stream.writelines(extents)
        self._names.append(name)
        self._waiting.clear()
        self._since = time.monotonic()

    def _read_chunk(self, name: str) -> None:
        """Find the intact clips of a chunk; a damaged chunk is not used from the damage on."""
        try:
            content = self._store.read(name, most_bytes=_MOST_LINE_BYTES + CHUNK_CLIPS * MOST_CLIP_BYTES)
            line, _, _ = content.partition(b"\n")
            offset = len(line) + 1
            for position, row, sums in parse_object(line, where=name)["clips"]:
                clip = self._task.clips[position]
                if row["key"] != clip.key:
                    return
                if sums is None:
                    if not self._task.retry:
                        self._failed[position] = QuarantineRecord(**row)
                    continue
                record = clip_record(row)
                extent = content[offset : offset + record.bytes]
                if hashlib.sha256(extent).hexdigest() != record.sha256:
                    return
                self._stored[position] = _Stored(name, offset, record, _sums(sums))
                offset += record.bytes
        except (InputError, ValueError, KeyError, IndexError, TypeError):
            return

    def _read_former(self) -> None:
        """Find the intact clips of the shard's file, whose rows the task has."""
        positions: dict[str, int] = {}
        for position, clip in enumerate(self._task.clips):
            if clip.problem is None:
                positions.setdefault(clip.key, position)
        wanted = {
            record.key: record
            for record in self._task.former
            if record.key in positions and positions[record.key] not in self
        }
        name = f"{SHARD_FOLDER}/{self._task.name}"
        for find in (_extents_by_rows, _extents_by_headers):
            try:
                with self._store.open(name) as stream:
                    for offset, record, extent in find(stream, self._task.former, dict(wanted)):
                        at = positions[record.key]
                        self._stored[at] = _Stored(name, offset, record, _sums_of(extent, offset))
                        del wanted[record.key]
            except (FileNotFoundError, StgcmaError, TarMemberError):
                continue
            if not wanted:
                return


_Extents = Iterator[tuple[int, ClipRecord, bytes]]


def _is_intact(extent: bytes, record: ClipRecord) -> bool:
    return hashlib.sha256(extent).hexdigest() == record.sha256


def _extents_by_rows(
    stream: BinaryIO, rows: Sequence[ClipRecord], wanted: Mapping[str, ClipRecord]
) -> _Extents:
    """Yield offset, row and bytes of the intact clips in `wanted`, at the places that the `rows` give."""
    offset = 0
    for record in rows:
        extent = stream.read(record.bytes)
        if record.key in wanted and _is_intact(extent, record):
            yield offset, record, extent
        offset += record.bytes


def _extents_by_headers(
    stream: BinaryIO, _: Sequence[ClipRecord], wanted: Mapping[str, ClipRecord]
) -> _Extents:
    """Yield the same of a file that was replaced since, where the tar headers name the clips.

    Raises TarMemberError at a damaged header.
    """
    end = stream.seek(0, io.SEEK_END)
    offset = 0
    while offset < end:
        stream.seek(offset)
        block = stream.read(BLOCKSIZE)
        if block == bytes(BLOCKSIZE):
            return
        header = parse_header(block, at=offset, end=end)
        record = wanted.get(header.name.partition(".")[0])
        if record is not None:
            extent = block + stream.read(record.bytes - len(block))
            if _is_intact(extent, record):
                yield offset, record, extent
                offset += record.bytes
                continue
        offset = header.end


def _sums(content: Mapping[str, Any]) -> dict[str, Sums]:
    return {name: (sums[0], sums[1], sums[2]) for name, sums in content.items()}


def _sums_of(extent: bytes, offset: int) -> dict[str, Sums]:
    """Return the sums of the fbanks in a clip's bytes, which begin at byte `offset` of a shard."""
    members = extent_members(extent, offset=offset)
    return sums_of_members((name.partition(".")[2], content) for name, content in members)
