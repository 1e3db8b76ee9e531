"""Reader of a shard's members in the form that the writer uses: plain files with one header each.

Python's `tarfile` also follows sparse files, long names and PAX records, with which a header of half a
kilobyte can claim a member of terabytes. Shards have none of them, so all are refused.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from functools import lru_cache
from typing import BinaryIO, NamedTuple

from .schema import MAX_KEY_CHARACTERS, MOST_CLIP_BYTES
from .writer import end_of_archive

_BLOCK = tarfile.BLOCKSIZE
_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_KEY_CHARACTERS}}}\.[a-z0-9_]+(\.[a-z0-9_]+)*")
# Fields of a header of the format ustar.
_NAME_END, _SIZE, _SIZE_END, _SUM, _SUM_END = 100, 124, 136, 148, 156
_OCTAL_SIZE, _OCTAL_SUM = re.compile(rb"[0-7]{11}\0"), re.compile(rb"[0-7]{6}\0 ")
_BLANK_SUM = 8 * ord(" ")  # the sum counts as blanks in itself
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.DIRTYPE: "a folder",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_LONGNAME: "a long name",
    tarfile.GNUTYPE_LONGLINK: "a long link",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    tarfile.XHDTYPE: "a PAX record",
    tarfile.XGLTYPE: "a PAX record",
    tarfile.SOLARIS_XHDTYPE: "a PAX record",
}


class TarMemberError(ValueError):
    """A part of a shard is not in the writer's form. The message names position and fault."""


class Header(NamedTuple):
    """A member's header: its name, and its content's position, `[begin, begin + size_bytes)`."""

    name: str
    begin: int
    size_bytes: int

    @property
    def end(self) -> int:
        """Position of the next header."""
        return self.begin + -(-self.size_bytes // _BLOCK) * _BLOCK


def parse_header(block: bytes, *, at: int, end: int) -> Header:
    """Parse the header in `block`, at byte `at` of a tar whose members end by `end`.

    Raises TarMemberError when it is damaged, is not that of a plain file named `KEY.suffix`, or claims more
    bytes than there are or than a clip may have.
    """
    name, size_bytes = _usual_header(block) or _any_header(block, at)
    if not _NAME.fullmatch(name):
        raise TarMemberError(f"the member {name[:200]!r} at byte {at} is not named like KEY.suffix")
    found = Header(name, at + _BLOCK, size_bytes)
    if size_bytes < 0 or found.begin + size_bytes > end:
        left = max(end - found.begin, 0)
        raise TarMemberError(f"the member {name} at byte {at} claims {size_bytes} bytes, {left} are left")
    if size_bytes > MOST_CLIP_BYTES:
        raise TarMemberError(
            f"the member {name} at byte {at} claims {size_bytes} bytes, at most {MOST_CLIP_BYTES} are read"
        )
    return found


def _any_header(block: bytes, at: int) -> tuple[str, int]:
    """Return name and size of a plain file. Raises TarMemberError for a damaged header and another type."""
    try:
        header = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.TarError, ValueError):
        raise TarMemberError(f"the tar header at byte {at} is damaged") from None
    if header.type != tarfile.REGTYPE:
        kind = _KINDS.get(header.type, f"of type {header.type!r}")
        raise TarMemberError(
            f"the member {header.name[:200]!r} at byte {at} is {kind}, shards hold plain files only"
        )
    return header.name, header.size


def _usual_header(block: bytes) -> tuple[str, int] | None:
    """Return name and size of a plain file, as `_any_header`; None when the latter has to decide.

    It takes a tenth of the time: of the headers of a shard only the name, the size and the sum differ.
    """
    rest = block[_NAME_END:_SIZE] + block[_SIZE_END:_SUM] + block[_SUM_END:]
    others = _sum_of_plain(rest)
    size, check = block[_SIZE:_SIZE_END], block[_SUM:_SUM_END]
    if others is None or not _OCTAL_SIZE.fullmatch(size) or not _OCTAL_SUM.fullmatch(check):
        return None
    if int(check[:6], 8) != others + sum(block[:_NAME_END]) + sum(size) + _BLANK_SUM:
        return None
    name = block[:_NAME_END].partition(b"\0")[0]
    return (name.decode("ascii"), int(size[:11], 8)) if name.isascii() else None


@lru_cache(maxsize=16)
def _sum_of_plain(rest: bytes) -> int | None:
    """Return the sum of all bytes of a header but name, size and sum; None unless it is of a plain file."""
    name, size = b"a.b".ljust(_NAME_END, b"\0"), b"00000000000\0"
    check = b"%06o\0 " % (sum(rest) + sum(name) + sum(size) + _BLANK_SUM)
    before = _SIZE - _NAME_END
    between = before + _SUM - _SIZE_END
    block = name + rest[:before] + size + rest[before:between] + check + rest[between:]
    try:
        header = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.TarError, ValueError):
        return None
    return sum(rest) if (header.type, header.name, header.size) == (tarfile.REGTYPE, "a.b", 0) else None


def extent_members(extent: bytes, *, offset: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield the members of a clip's bytes, which begin at `offset` of the shard: (name, content).

    Its speed matters for loading. Raises TarMemberError.
    """
    at, end = 0, offset + len(extent)
    while at < len(extent):
        header = parse_header(extent[at : at + _BLOCK], at=offset + at, end=end)
        begin = header.begin - offset
        yield header.name, extent[begin : begin + header.size_bytes]
        at = header.end - offset


def stream_members(
    stream: BinaryIO, size_bytes: int, suffixes: frozenset[str]
) -> Iterator[tuple[str, bytes]]:
    """Yield the members of a whole shard of `size_bytes` that have one of `suffixes`: (name, content).

    The other members are skipped. Raises TarMemberError, also when a clip has a member twice, and when the
    shard does not end as the writer ends it.
    """
    at, key, seen = 0, "", set[str]()
    while (block := stream.read(_BLOCK)) != bytes(_BLOCK):
        if len(block) < _BLOCK:
            raise TarMemberError(f"the tar header at byte {at} is damaged")
        header = parse_header(block, at=at, end=size_bytes)
        owner, _, suffix = header.name.partition(".")
        if owner != key:
            key, seen = owner, set()
        if suffix in seen:
            raise TarMemberError(f"{header.name} is in it twice")
        seen.add(suffix)
        if suffix in suffixes:
            content = stream.read(header.size_bytes)
            if len(content) < header.size_bytes:
                raise TarMemberError(f"it ends within {header.name}")
            yield header.name, content
        at = header.end
        stream.seek(at)
    closing = end_of_archive(at)
    if block + stream.read(len(closing) + 1 - _BLOCK) != closing:
        raise TarMemberError(f"the tar header at byte {at} is damaged")
