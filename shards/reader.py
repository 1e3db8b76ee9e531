"""Reading shards: one clip by its place in the manifest, or a whole shard as a stream."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ..errors import StgcmaError
from .cache import open_kept
from .manifest import read_columns
from .schema import SHARD_FOLDER, ClipRecord
from .storage import Location, ObjectStore, Store, open_store
from .tar_members import TarMemberError, extent_members, parse_header, stream_members


class ClipPlace(NamedTuple):
    """Where a clip lies: the bytes `[offset_bytes, offset_bytes + size_bytes)` of a shard."""

    key: str
    shard: str
    offset_bytes: int
    size_bytes: int
    sha256: str


def clip_places(records: Sequence[ClipRecord]) -> list[ClipPlace]:
    """Where each clip of the manifest lies. `records` are all rows of their shards, in manifest order."""
    rows = [(record.key, record.shard, record.bytes, record.sha256) for record in records]
    return _places(*zip(*rows, strict=True)) if rows else []


def split_places(folder: Location, split: str) -> tuple[list[ClipPlace], list[float]]:
    """Where the clips of one split lie, in the manifest's order, and their lengths in seconds.

    Raises InputError when the manifest is damaged.
    """
    names = ("key", "shard", "bytes", "sha256", "seconds")
    *columns, seconds = read_columns(folder, names, split=split)
    return _places(*columns), seconds


def _places(
    keys: Sequence[str], shards: Sequence[str], sizes: Sequence[int], hashes: Sequence[str]
) -> list[ClipPlace]:
    """The places of clips that follow one another: a shard's first is at its beginning."""
    offsets: list[int] = []
    names: list[str] = []  # one string a shard, not one a clip
    shard, offset = "", 0
    for name, size in zip(shards, sizes, strict=True):
        if name != shard:
            shard, offset = name, 0
        names.append(shard)
        offsets.append(offset)
        offset += size
    return list(map(ClipPlace, keys, names, offsets, sizes, hashes))


class ClipReader:
    """Reads clips of a shard directory by place, keeping the last shard open.

    Reading by place makes the order of clips a free choice (a function of seed and epoch, not of the number
    of workers), while neighbours in that order mostly lie in the same shard. Shards behind a URL are fetched
    whole into the folder `cache`, where one is given; a copy there that turns out to be damaged is fetched
    again, once. Without a cache only what is read is fetched, `ahead_bytes` at a time when clips are read one
    after the other.
    """

    def __init__(self, folder: Location, *, cache: Path | None = None, ahead_bytes: int = 0) -> None:
        self.folder = folder
        self.cache = cache
        self.ahead_bytes = ahead_bytes
        self._renewed: set[str] = set()  # shards whose copies in the cache were fetched again
        self._store: Store | None = None
        self._process = 0  # whose store and stream they are
        self._shard = ""
        self._stream: BinaryIO | None = None

    def read(self, place: ClipPlace, *, check: bool = False) -> dict[str, bytes]:
        """The members of the clip at `place`: suffix (`frame_00.jpg`) to bytes.

        `check` compares the bytes with the manifest's hash. Raises StgcmaError naming the shard when it is
        missing, cut, or holds something else.
        """
        try:
            return self._read(place, check=check)
        except StgcmaError:
            if not self._renew(place.shard):
                raise
        return self._read(place, check=check)

    def _read(self, place: ClipPlace, *, check: bool) -> dict[str, bytes]:
        extent = self._read_extent(place)
        if check and hashlib.sha256(extent).hexdigest() != place.sha256:
            raise StgcmaError(
                f"{self._where(place.shard)}: {place.key} is damaged, its hash is not the manifest's"
            )
        where = self._where(place.shard)
        members: dict[str, bytes] = {}
        try:
            for name, content in extent_members(extent, offset=place.offset_bytes):
                key, _, suffix = name.partition(".")
                if key != place.key:
                    raise StgcmaError(f"{where}: found {key} at the place of {place.key}")
                if suffix in members:
                    raise StgcmaError(f"{where}: {name} is in it twice")
                members[suffix] = content
        except TarMemberError as fault:
            raise StgcmaError(f"{where} is not a readable shard: {fault}") from None
        return members

    def read_member(self, place: ClipPlace, suffix: str) -> bytes:
        """One member of the clip at `place`, e.g. `frame_00.jpg`; of the others only the headers are read.

        Its hash is not compared: the manifest has that of the whole clip. Raises StgcmaError as `read`, and
        when the clip has no such member.
        """
        try:
            return self._read_member(place, suffix)
        except StgcmaError:
            if not self._renew(place.shard):
                raise
        return self._read_member(place, suffix)

    def _read_member(self, place: ClipPlace, suffix: str) -> bytes:
        where, wanted = self._where(place.shard), f"{place.key}.{suffix}"
        at, end = place.offset_bytes, place.offset_bytes + place.size_bytes
        try:
            while at < end:
                header = parse_header(self._read_bytes(place, at, tarfile.BLOCKSIZE), at=at, end=end)
                if header.name == wanted:
                    return self._read_bytes(place, header.begin, header.size_bytes)
                at = header.end
        except TarMemberError as fault:
            raise StgcmaError(f"{where} is not a readable shard: {fault}") from None
        raise StgcmaError(f"{where}: {place.key} has no {suffix}")

    def close(self) -> None:
        """Closes the open shard."""
        if self._stream is not None:
            self._stream.close()
        self._shard, self._stream = "", None

    def __reduce__(self) -> tuple[Any, tuple[Location]]:
        return partial(ClipReader, cache=self.cache, ahead_bytes=self.ahead_bytes), (self.folder,)

    def _here(self) -> Store:
        """The store, opened in this process: a forked one would share its parent's place in the file."""
        if self._store is None or self._process != os.getpid():
            self._shard, self._stream = "", None
            self._store, self._process = open_store(self.folder), os.getpid()
        return self._store

    def _where(self, shard: str) -> str:
        return self._here().where(f"{SHARD_FOLDER}/{shard}")

    def _read_extent(self, place: ClipPlace) -> bytes:
        return self._read_bytes(place, place.offset_bytes, place.size_bytes)

    def _read_bytes(self, place: ClipPlace, offset: int, size: int) -> bytes:
        """The `size` bytes from byte `offset` of the shard of `place`."""
        store = self._here()
        if self._stream is None or place.shard != self._shard:
            self.close()
            try:
                self._stream = self._open(store, f"{SHARD_FOLDER}/{place.shard}")
            except FileNotFoundError:
                raise StgcmaError(f"{self._where(place.shard)} is missing, the manifest names it") from None
            self._shard = place.shard
        try:
            self._stream.seek(offset)
            extent = self._stream.read(size)
        except OSError as error:
            raise StgcmaError(f"{self._where(place.shard)} cannot be read: {error}") from None
        if len(extent) != size:
            raise StgcmaError(f"{self._where(place.shard)} is cut: it ends within {place.key}")
        return extent

    def _open(self, store: Store, name: str) -> BinaryIO:
        if self.cache is not None and isinstance(store, ObjectStore):
            return open_kept(store, name, self.cache)
        stream = store.open(name)
        if self.ahead_bytes and isinstance(store, ObjectStore):
            return io.BufferedReader(stream, self.ahead_bytes)  # type: ignore[type-var]
        return stream

    def _renew(self, shard: str) -> bool:
        """Fetches a shard anew whose copy in the cache is damaged; False when that is not the cause."""
        store = self._here()
        if self.cache is None or not isinstance(store, ObjectStore) or shard != self._shard:
            return False
        if shard in self._renewed:
            return False
        self.close()
        self._renewed.add(shard)
        open_kept(store, f"{SHARD_FOLDER}/{shard}", self.cache, anew=True).close()
        return True


def small_members(store: Store, name: str, suffixes: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """The members of the shard `name` that have one of `suffixes`: (suffix, bytes), the others skipped over.

    Raises StgcmaError naming the shard when it is missing or damaged.
    """
    where = store.where(name)
    try:
        # Of an object, every read is a request: of many small members it is fetched by the megabyte.
        with io.BufferedReader(store.open(name), 1 << 20) as stream:  # type: ignore[type-var]
            for member, content in stream_members(stream, store.size_bytes(name) or 0, frozenset(suffixes)):
                yield member.partition(".")[2], content
    except FileNotFoundError:
        raise StgcmaError(f"{where} is missing, the manifest names it") from None
    except TarMemberError as fault:
        raise StgcmaError(f"{where} is not a readable shard: {fault}") from None
