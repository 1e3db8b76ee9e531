"""Size and hash of the files that a clip is made of, to detect files that are replaced later."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

from ...shards.schema import SourceFile
from ..collections.specification import ClipSpecification

# Clips of one long video are consecutive: each process hashes it once.
_REMEMBERED = 256


def clip_files(clip: ClipSpecification) -> list[str]:
    """Return the files that decoding `clip` reads, relative to RAW; the folder of pictures comes first."""
    sound = [] if clip.sound is None else [clip.sound]
    return [clip.source, *filter(None, clip.masks), *clip.pictures, *sound]


def source_files(clip: ClipSpecification, resolve: Callable[[str], Path]) -> tuple[SourceFile, ...]:
    """Return the files of `clip`, each once, with size and hash. `resolve` maps their names to paths.

    Call it right after decoding, while the files are in the page cache.
    """
    names = clip_files(clip)
    files = names[1:] if clip.pictures else names  # the source of a clip of pictures is a folder
    return tuple(described_files(files, resolve))


def described_files(names: Iterable[str], resolve: Callable[[str], Path]) -> Iterable[SourceFile]:
    for name in dict.fromkeys(names):
        path = resolve(name)
        status = path.stat()
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        yield SourceFile(name, status.st_size, _sha256(path, identity))


@lru_cache(maxsize=_REMEMBERED)
def _sha256(path: Path, _identity: tuple[int, ...]) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
