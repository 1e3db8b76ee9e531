"""Writing one shard: the members of a clip side by side in a plain tar."""

from __future__ import annotations

import hashlib
import itertools
import tarfile
from collections.abc import Iterable

from .schema import ClipRecord, Sample, canonical_json, shard_name
from .storage import Location, open_store


def write_shard(folder: Location, split: str, index: int, samples: Iterable[Sample]) -> list[ClipRecord]:
    """Writes `samples` as shard `index` of `split` into `folder`; returns the manifest's rows.

    The shard appears under its name once the last sample is written, and not at all when there is none. Its
    bytes depend on the samples alone.
    """
    samples = iter(samples)
    first = next(samples, None)
    if first is None:
        return []
    name = shard_name(split, index)
    records = []
    with open_store(folder).published(name) as stream:
        for sample in itertools.chain([first], samples):
            extent = clip_bytes(sample, split, name)
            stream.write(extent)
            records.append(_record(sample, split, name, extent))
        stream.write(end_of_archive(sum(record.bytes for record in records)))
    return records


def clip_bytes(sample: Sample, split: str, shard: str) -> bytes:
    """The tar members of one clip, headers and padding included, as WebDataset's TarWriter writes them.

    Not with it: it loads torch, which takes a process that only writes two seconds.
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
    members = {"json": canonical_json(description), **sample.members}
    extent = bytearray()
    for suffix in sorted(members):
        if not isinstance(members[suffix], bytes):
            raise ValueError(f"{suffix} of {sample.key} is {type(members[suffix])}, must be bytes")
        header = tarfile.TarInfo(f"{sample.key}.{suffix}")
        header.size = len(members[suffix])
        extent += header.tobuf(tarfile.USTAR_FORMAT)
        extent += members[suffix]
        extent += bytes(-header.size % tarfile.BLOCKSIZE)
    return bytes(extent)


def end_of_archive(size: int) -> bytes:
    """What closes a tar of `size` bytes: two empty blocks, then zeros up to a whole record."""
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
    )
