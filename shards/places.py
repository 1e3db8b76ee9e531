"""The positions of clips in shards, as columns: a tuple is made for the clips that are read."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate, compress, groupby
from typing import NamedTuple, overload


class ClipPlace(NamedTuple):
    """Position of a clip: the bytes `[offset_bytes, offset_bytes + size_bytes)` of a shard."""

    key: str
    shard: str
    offset_bytes: int
    size_bytes: int
    sha256: str


class ClipPlaces(Sequence[ClipPlace]):
    """The positions of many clips.

    Args:
        keys, shards, offsets_bytes, sizes_bytes, hashes: the fields of `ClipPlace`, each of all clips.
    """

    def __init__(
        self,
        keys: Sequence[str],
        shards: Sequence[str],
        offsets_bytes: Sequence[int],
        sizes_bytes: Sequence[int],
        hashes: Sequence[str],
    ) -> None:
        self._columns = (keys, shards, offsets_bytes, sizes_bytes, hashes)

    @property
    def keys(self) -> Sequence[str]:
        """The keys of the clips."""
        return self._columns[0]

    @property
    def shards(self) -> Sequence[str]:
        """The shard of each clip."""
        return self._columns[1]

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> ClipPlace: ...

    @overload
    def __getitem__(self, index: slice) -> ClipPlaces: ...

    def __getitem__(self, index: int | slice) -> ClipPlace | ClipPlaces:
        keys, shards, offsets, sizes, hashes = self._columns
        if isinstance(index, slice):
            return ClipPlaces(keys[index], shards[index], offsets[index], sizes[index], hashes[index])
        return ClipPlace(keys[index], shards[index], offsets[index], sizes[index], hashes[index])

    def __iter__(self) -> Iterator[ClipPlace]:
        return map(ClipPlace, *self._columns)

    def select(self, selected: Sequence[bool]) -> ClipPlaces:
        """Return the positions of the clips that are `selected`, of which there is one value each."""
        if all(selected):
            return self
        keys, shards, offsets, sizes, hashes = self._columns
        return ClipPlaces(
            list(compress(keys, selected)),
            list(compress(shards, selected)),
            array("q", compress(offsets, selected)),
            array("q", compress(sizes, selected)),
            list(compress(hashes, selected)),
        )


def places_of(
    keys: Sequence[str], shards: Sequence[str], sizes: Sequence[int], hashes: Sequence[str]
) -> ClipPlaces:
    """Return the positions of consecutive clips; the first clip of a shard is at its beginning."""
    offsets = array("q")
    names: list[str] = []  # one string a shard, not one a clip
    for shard, clips in groupby(shards):
        first, count = len(names), len(list(clips))
        names += [shard] * count
        offsets.extend(accumulate(sizes[first : first + count - 1], initial=0))
    return ClipPlaces(keys, names, offsets, array("q", sizes), hashes)
