"""Numbers that a collection's publication gives, for comparison with a shard directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .schema import AudioStatistics

ALL = "all"


@dataclass(frozen=True, slots=True)
class Published:
    """Size and statistics of a collection as published.

    Attributes:
        clips: split, or `all`, to the number of clips.
        rows: the same for annotation rows, where a clip has several (questions).
        classes: number of event classes with background, of object categories, or of answers.
        unit: noun for an annotation row.
        audio: mean and standard deviation of the log-mel energies.
    """

    clips: Mapping[str, int]
    rows: Mapping[str, int] = field(default_factory=dict)
    classes: int = 0
    unit: str = "rows"
    audio: AudioStatistics | None = None

    def clips_of(self, split: str) -> int | None:
        """Return the number of clips of a split, or of `all`; None where it is not published."""
        return _count(self.clips, split)

    def rows_of(self, split: str) -> int | None:
        """Return the number of annotation rows of a split, or of `all`; None where it is not published."""
        return _count(self.rows, split)


# Returns the published numbers of the collection with a given name; None where there are none.
PublishedLookup = Callable[[str], Published | None]


def _count(counts: Mapping[str, int], split: str) -> int | None:
    if split == ALL and ALL not in counts:
        return sum(counts.values()) or None
    return counts.get(split)
