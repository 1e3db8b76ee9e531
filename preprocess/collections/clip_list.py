"""The clips of a collection as a sequence that takes little memory, in the order of their splits."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from itertools import groupby
from operator import itemgetter
from typing import Any

from ...shards.schema import SPLITS
from .packed import HashList, PackedRows
from .path_series import all_paths, is_series
from .specification import PLAN_HASH, ClipSpecification, check_values, field_values, plan_hash

_place = [each.name for each in fields(ClipSpecification)].index
KEY, SPLIT, SOURCE, END_SECONDS = map(_place, ("key", "split", "source", "end_seconds"))
"""Places of some fields of a clip among its values."""
_MASKS, _PICTURES = map(_place, ("masks", "pictures"))
_KEYS_DIFFER = "keys_differ"
_CLIPS_PER_BLOCK = 2048  # many, because objects that clips share are packed once a block


def _make(values: tuple[Any, ...]) -> ClipSpecification:
    if is_series(values[_MASKS]) or is_series(values[_PICTURES]):
        whole = list(values)
        whole[_MASKS], whole[_PICTURES] = all_paths(values[_MASKS]), all_paths(values[_PICTURES])
        return ClipSpecification(*whole)
    return ClipSpecification(*values)


class ClipList(PackedRows[ClipSpecification]):
    """Clips in any order, packed.

    Clips that are added as their values (`clip_values`) are checked when a block of them is packed: those at
    the end when the list is read or closed.
    """

    values_of = staticmethod(field_values)

    def __init__(self, clips: Iterable[ClipSpecification] = ()) -> None:
        self._keys = HashList()
        self._runs: list[tuple[str, int]] = []
        self._latest_end = 0.0
        super().__init__(clips, make=_make, rows_per_block=_CLIPS_PER_BLOCK)

    @classmethod
    def of_values(cls, rows: Iterable[tuple[Any, ...]]) -> ClipList:
        """Return the list of clips with these fields. Raises ValueError as `ClipSpecification`."""
        clips = cls()
        clips.extend_values(rows)
        clips.close()
        return clips

    def close(self) -> None:
        """Check and pack the clips that are not packed yet."""
        if not self._open:
            return
        check_values(self._open)
        self._keys.add_all(map(itemgetter(KEY), self._open))
        for split, run in groupby(map(itemgetter(SPLIT), self._open)):
            before, count = self._runs.pop() if self._runs and self._runs[-1][0] == split else (split, 0)
            self._runs.append((before, count + sum(1 for _ in run)))
        ends: Iterable[float] = filter(None, map(itemgetter(END_SECONDS), self._open))
        self._latest_end = max(self._latest_end, max(ends, default=0.0))
        super().close()

    def join(self, other: ClipList) -> None:
        """Add the clips of another list, which is not used after that."""
        self.close()
        other.close()
        self._starts += [self._packed + start for start in other._starts]
        self._blocks += other._blocks
        self._packed += other._packed
        self._keys.extend(other._keys)
        self._runs += other._runs
        self._latest_end = max(self._latest_end, other._latest_end)

    @property
    def keys_differ(self) -> bool:
        """True when all keys are different; False when two may be the same."""
        self.close()
        return self.remembered(_KEYS_DIFFER, self._keys.all_different)

    @property
    def latest_end(self) -> float:
        """The latest end of a span, in seconds; 0 when all clips are whole files."""
        self.close()
        return self._latest_end

    def to_stored(self) -> tuple[dict[str, Any], list[bytes]]:
        """Return values for JSON and blocks, from which `of_stored` makes the same list.

        Raises ValueError when a field of a clip is no plain value.
        """
        plan_hash(self)
        _ = self.keys_differ
        content, blocks = self.stored((PLAN_HASH, _KEYS_DIFFER))
        return content | {"runs": self._runs, "latest_end": self._latest_end}, blocks

    @classmethod
    def of_stored(cls, content: Mapping[str, Any], blocks: list[bytes]) -> ClipList:
        """Return a stored list, to which nothing may be added: hashes of the keys are not stored."""
        clips = cls()
        clips.restore(content, blocks)
        clips._runs = [(split, count) for split, count in content["runs"]]
        clips._latest_end = content["latest_end"]
        return clips

    def counts(self) -> dict[str, int]:
        """Return the number of clips of each split."""
        self.close()
        found = dict.fromkeys(SPLITS, 0)
        for split, count in self._runs:
            found[split] += count
        return found

    def ranges(self) -> dict[str, range] | None:
        """Return the places of each split's clips; None when those of a split do not follow each other."""
        self.close()
        found = {split: range(0) for split in SPLITS}
        start = 0
        for split, count in self._runs:
            if found[split]:
                return None
            found[split] = range(start, start + count)
            start += count
        return found


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the search for circles of objects, which looks at the same million tuples again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def packed(clips: Iterable[ClipSpecification]) -> ClipList:
    """Return clips as a `ClipList`."""
    return clips if isinstance(clips, ClipList) else ClipList(clips)


def by_split(clips: Iterable[ClipSpecification]) -> ClipList:
    """Return the clips in the order of the splits; within a split the order is unchanged."""
    return values_by_split(map(field_values, clips))


def values_by_split(rows: Iterable[tuple[Any, ...]]) -> ClipList:
    """Return clips, given as their fields (`clip_values`), as `by_split`.

    Raises ValueError as `ClipSpecification`.
    """
    parts = {split: ClipList() for split in SPLITS}
    add = {split: part.append_values for split, part in parts.items()}
    for values in rows:
        if values[SPLIT] not in add:
            check_values([values])
        add[values[SPLIT]](values)
    first, *others = parts.values()
    for other in others:
        first.join(other)
    return first
