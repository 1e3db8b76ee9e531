"""The clips of a collection as a sequence that takes little memory, in the order of their splits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...shards.schema import SPLITS
from .packed import HashList, PackedRows
from .specification import ClipSpecification, field_values

SOURCE = tuple(ClipSpecification.__dataclass_fields__).index("source")
"""Place of a clip's source among its values."""
END_SECONDS = tuple(ClipSpecification.__dataclass_fields__).index("end_seconds")
"""Place of the end of a span."""

_CLIPS_PER_BLOCK = 2048  # many, because objects that clips share are packed once a block


def _make(values: tuple[Any, ...]) -> ClipSpecification:
    return ClipSpecification(*values)


class ClipList(PackedRows[ClipSpecification]):
    """Clips in any order, packed."""

    def __init__(self, clips: Iterable[ClipSpecification] = ()) -> None:
        self._keys = HashList()
        self._runs: list[tuple[str, int]] = []
        super().__init__(clips, make=_make, rows_per_block=_CLIPS_PER_BLOCK)

    def values_of(self, row: ClipSpecification) -> tuple[Any, ...]:
        """Return the fields of a clip."""
        return field_values(row)

    def append(self, row: ClipSpecification) -> None:
        """Add a clip at the end."""
        self._keys.add(row.key)
        if self._runs and self._runs[-1][0] == row.split:
            self._runs[-1] = (row.split, self._runs[-1][1] + 1)
        else:
            self._runs.append((row.split, 1))
        super().append(row)

    def join(self, other: ClipList) -> None:
        """Add the clips of another list, which is not used after that."""
        self.close()
        other.close()
        self._starts += [self._packed + start for start in other._starts]
        self._blocks += other._blocks
        self._packed += other._packed
        self._keys.extend(other._keys)
        self._runs += other._runs

    @property
    def keys_differ(self) -> bool:
        """True when all keys are different; False when two may be the same."""
        return self._keys.all_different()

    def counts(self) -> dict[str, int]:
        """Return the number of clips of each split."""
        found = dict.fromkeys(SPLITS, 0)
        for split, count in self._runs:
            found[split] += count
        return found

    def ranges(self) -> dict[str, range] | None:
        """Return the places of each split's clips; None when those of a split do not follow each other."""
        found = {split: range(0) for split in SPLITS}
        start = 0
        for split, count in self._runs:
            if found[split]:
                return None
            found[split] = range(start, start + count)
            start += count
        return found


def packed(clips: Iterable[ClipSpecification]) -> ClipList:
    """Return clips as a `ClipList`."""
    return clips if isinstance(clips, ClipList) else ClipList(clips)


def by_split(clips: Iterable[ClipSpecification]) -> ClipList:
    """Return the clips in the order of the splits; within a split the order is unchanged."""
    parts = {split: ClipList() for split in SPLITS}
    for clip in clips:
        parts[clip.split].append(clip)
    first, *others = parts.values()
    for other in others:
        first.join(other)
    return first
