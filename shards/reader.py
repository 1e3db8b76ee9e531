"""Readers of shards: one clip by its position in the manifest, or a whole shard as a stream."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, BinaryIO

from ..errors import StgcmaError
from .cache import ShardCache, open_kept
from .manifest import read_columns
from .places import ClipPlace, ClipPlaces, places_of
from .schema import SHARD_FOLDER, SPLITS, ClipRecord
from .storage import Location, ObjectStore, Store, open_store
from .tar_members import TarMemberError, extent_members, parse_header, stream_members


def clip_places(records: Sequence[ClipRecord]) -> ClipPlaces:
    """Return the position of each clip. `records` are all rows of their shards, in manifest order."""
    return places_of(
        [record.key for record in records],
        [record.shard for record in records],
        [record.bytes for record in records],
        [record.sha256 for record in records],
    )


def split_places(folder: Location, split: str) -> tuple[ClipPlaces, list[float]]:
    """Return the positions of the clips of one split, in manifest order, and their lengths in seconds.

    Raises InputError when the manifest is damaged.
    """
    names = ("key", "shard", "bytes", "sha256", "seconds")
    *columns, seconds = read_columns(folder, names, split=split)
    return places_of(*columns), seconds


def iterate_clips(
    location: Location, *, split: str | None = None, check: bool = False
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield the key and the members of every clip, in the order of the manifest.

    Args:
        location: the shard directory, a path or a URL.
        split: `train`, `val` or `test`; None for all.
        check: compare every clip with its hash in the manifest.

    Yields:
        The key, and the members as suffix (`frame_00.jpg`) to bytes.

    Raises:
        InputError: when the manifest is missing or damaged.
        StgcmaError: when a shard is missing or damaged.
    """
    reader = ClipReader(location, ahead_bytes=1 << 20)
    try:
        for each in SPLITS if split is None else (split,):
            for place in split_places(location, each)[0]:
                yield place.key, reader.read(place, check=check)
    finally:
        reader.close()


class ClipReader:
    """Reader of single clips by position, in any order. It keeps the last shard open.

    Args:
        folder: the shard directory, a path or a URL.
        cache: local copies: shards behind a URL are fetched whole; a damaged copy is fetched again,
            once. Without a cache only the ranges that are read are fetched.
        ahead_bytes: size of the ranges fetched without a cache when clips are read in sequence.
        shards: the folder of the shards in the directory.
    """

    def __init__(
        self,
        folder: Location,
        *,
        cache: ShardCache | None = None,
        ahead_bytes: int = 0,
        shards: str = SHARD_FOLDER,
    ) -> None:
        self.folder = folder
        self.shards = shards
        self.cache = cache
        self.ahead_bytes = ahead_bytes
        self._renewed: set[str] = set()  # shards whose copies in the cache were fetched again
        self._store: Store | None = None
        self._process = 0  # that opened the store and the stream
        self._shard = ""
        self._stream: BinaryIO | None = None

    def read(self, place: ClipPlace, *, check: bool = False) -> dict[str, bytes]:
        """Return the members of the clip at `place`: suffix (`frame_00.jpg`) to bytes.

        `check` compares the bytes with the manifest's hash. Raises StgcmaError, naming the shard, when it is
        missing, cut, or holds other content.
        """
        try:
            return self._read(place, check=check)
        except StgcmaError:
            if not self._renew(place.shard):
                raise
        return self._read(place, check=check)

    def _read(self, place: ClipPlace, *, check: bool) -> dict[str, bytes]:
        extent = self.read_extent(place, check=check)
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

    def read_member(self, place: ClipPlace, suffix: str, span: tuple[int, int] | None = None) -> bytes:
        """Return one member of the clip at `place`, e.g. `frame_00.jpg`; of others only headers are read.

        Of a member with `span`, the bytes `[begin, end)` counted back from its end, both at most 0, are read.

        No hash is compared, since the manifest has that of the whole clip. Raises StgcmaError as `read` does,
        and when the clip has no such member.
        """
        try:
            return self._read_member(place, suffix, span)
        except StgcmaError:
            if not self._renew(place.shard):
                raise
        return self._read_member(place, suffix, span)

    def _read_member(self, place: ClipPlace, suffix: str, span: tuple[int, int] | None) -> bytes:
        where, wanted = self._where(place.shard), f"{place.key}.{suffix}"
        at, end = place.offset_bytes, place.offset_bytes + place.size_bytes
        try:
            while at < end:
                header = parse_header(self._read_bytes(place, at, tarfile.BLOCKSIZE), at=at, end=end)
                if header.name == wanted:
                    begin, end = span or (-header.size_bytes, 0)
                    if not -header.size_bytes <= begin <= end <= 0:
                        raise StgcmaError(
                            f"{where}: {wanted} has {header.size_bytes} bytes, expected {-begin} or more"
                        )
                    return self._read_bytes(place, header.begin + header.size_bytes + begin, end - begin)
                at = header.end
        except TarMemberError as fault:
            raise StgcmaError(f"{where} is not a readable shard: {fault}") from None
        raise StgcmaError(f"{where}: {place.key} has no {suffix}")

    def close(self) -> None:
        """Close the open shard."""
        if self._stream is not None:
            self._stream.close()
        self._shard, self._stream = "", None

    def __reduce__(self) -> tuple[Any, tuple[Location]]:
        made = partial(ClipReader, cache=self.cache, ahead_bytes=self.ahead_bytes, shards=self.shards)
        return made, (self.folder,)

    def _opened(self) -> Store:
        """Return the store, opened in this process: a fork would share the parent's position in the file."""
        if self._store is None or self._process != os.getpid():
            self._shard, self._stream = "", None
            self._store, self._process = open_store(self.folder), os.getpid()
        return self._store

    def _where(self, shard: str) -> str:
        return self._opened().where(f"{self.shards}/{shard}")

    def read_extent(self, place: ClipPlace, *, check: bool = True) -> bytes:
        """Return the bytes of a clip in its shard; `check` compares them with the manifest's hash.

        Raises as `read`.
        """
        extent = self._read_bytes(place, place.offset_bytes, place.size_bytes)
        if check and hashlib.sha256(extent).hexdigest() != place.sha256:
            raise StgcmaError(
                f"{self._where(place.shard)}: {place.key} is damaged, its hash is not the manifest's"
            )
        return extent

    def _read_bytes(self, place: ClipPlace, offset: int, size: int) -> bytes:
        """Return `size` bytes from byte `offset` of the shard of `place`."""
        store = self._opened()
        if self._stream is None or place.shard != self._shard:
            self.close()
            try:
                self._stream = self._open(store, f"{self.shards}/{place.shard}")
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
        """Fetch a shard again whose copy in the cache is damaged; return False when that is not the cause."""
        store = self._opened()
        if self.cache is None or not isinstance(store, ObjectStore) or shard != self._shard:
            return False
        if shard in self._renewed:
            return False
        self.close()
        self._renewed.add(shard)
        open_kept(store, f"{self.shards}/{shard}", self.cache, anew=True).close()
        return True


def small_members(store: Store, name: str, suffixes: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the members of the shard `name` with one of `suffixes` as (suffix, bytes).

    Raises StgcmaError naming the shard when it is missing or damaged.
    """
    where = store.where(name)
    try:
        # Every read of an object is a request, so small members are fetched by the megabyte.
        with io.BufferedReader(store.open(name), 1 << 20) as stream:  # type: ignore[type-var]
            for member, content in stream_members(stream, store.size_bytes(name) or 0, frozenset(suffixes)):
                yield member.partition(".")[2], content
    except FileNotFoundError:
        raise StgcmaError(f"{where} is missing, the manifest names it") from None
    except TarMemberError as fault:
        raise StgcmaError(f"{where} is not a readable shard: {fault}") from None
