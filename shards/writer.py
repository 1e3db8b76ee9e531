"""Writer of one shard: a plain tar with the members of a clip side by side."""

from __future__ import annotations

import hashlib
import io
import itertools
import tarfile
from collections.abc import Iterable, Mapping

from .schema import ClipRecord, Sample, canonical_json, shard_name
from .storage import Location, open_store
from .tar_writer import tar_writer


def write_shard(folder: Location, split: str, index: int, samples: Iterable[Sample]) -> list[ClipRecord]:
    """Write `samples` as shard `index` of `split` into `folder`; return the manifest's rows.

    The shard appears under its name once the last sample is written; without samples there is no file. Its
    bytes depend on the samples alone.
    """
    name = shard_name(split, index)
    return write_extents(folder, name, (made_extent(sample, split, name) for sample in samples))


def write_extents(
    folder: Location, name: str, extents: Iterable[tuple[ClipRecord, bytes]]
) -> list[ClipRecord]:
    """Write clips, given as rows and bytes, as the shard `name` into `folder`; return the rows.

    The shard appears under its name once the last clip is written; without clips there is no file.
    """
    extents = iter(extents)
    first = next(extents, None)
    if first is None:
        return []
    records = []
    with open_store(folder).published(name) as stream:
        for record, extent in itertools.chain([first], extents):
            stream.write(extent)
            records.append(record)
        stream.write(end_of_archive(sum(record.bytes for record in records)))
    return records


def made_extent(sample: Sample, split: str, shard: str) -> tuple[ClipRecord, bytes]:
    """Return a clip's row of the manifest and its bytes in the shard."""
    extent = clip_bytes(sample, split, shard)
    return _record(sample, split, shard, extent), extent


def clip_bytes(sample: Sample, split: str, shard: str) -> bytes:
    """Return the tar members of one clip, with headers and padding, as webdataset's TarWriter writes them.

    Each clip has its own writer, because the manifest holds size and hash of each clip's part of the tar.
    """
    description = {
        **sample.fields,
        "key": sample.key,
        "split": split,
        "shard": shard,
        "source": sample.source,
        "seconds": sample.seconds,
        "fps": sample.fps,
        "has_audio": sample.has_audio,
        "decoder": sample.decoder,
        "warnings": list(sample.warnings),
    }
    return tar_members(sample.key, {"json": canonical_json(description), **sample.members})


def tar_members(key: str, members: Mapping[str, bytes]) -> bytes:
    """Return members by suffix, of the clip `key`, as a part of a tar with headers and padding."""
    for suffix, content in members.items():
        if not isinstance(content, bytes):
            raise ValueError(f"{suffix} of {key} is {type(content)}, must be bytes")
    stream = io.BytesIO()
    # Independent of the clock and of the user.
    with tar_writer()(stream, encoder=False, mtime=0, user="", group="", mode=0o644) as writer:
        writer.write({"__key__": key, **members})
        size = writer.tarstream.offset
    return stream.getvalue()[:size]


def end_of_archive(size: int) -> bytes:
    """Return the end of a tar of `size` bytes: two empty blocks, then zeros up to a whole record."""
    closing = 2 * tarfile.BLOCKSIZE
    return bytes(closing + -(size + closing) % tarfile.RECORDSIZE)


def _record(sample: Sample, split: str, shard: str, extent: bytes) -> ClipRecord:
    return ClipRecord(
        key=sample.key,
        split=split,
        shard=shard,
        bytes=len(extent),
        sha256=hashlib.sha256(extent).hexdigest(),
        source=sample.source,
        seconds=sample.seconds,
        fps=sample.fps,
        has_audio=sample.has_audio,
        decoder=sample.decoder,
        warnings=sample.warnings,
        source_files=tuple(file.name for file in sample.source_files),
        source_bytes=tuple(file.bytes for file in sample.source_files),
        source_sha256=tuple(file.sha256 for file in sample.source_files),
        **sample.statistics._asdict(),
    )
