"""Distributions of the clips' statistics over a directory or a split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_type_hints

from .schema import ClipRecord, ClipStatistics

BINS = 24

_HINTS = get_type_hints(ClipStatistics)
NUMBERS = tuple(name for name, kind in _HINTS.items() if kind == float | None)
"""The statistics that are numbers."""
FLAGS = tuple(name for name, kind in _HINTS.items() if kind == bool | None)
"""The statistics that are true or false."""


@dataclass(frozen=True)
class Distribution:
    """Values of one statistic.

    Attributes:
        clips: number of clips with a value.
        least, low, median, high, most: the quantiles 0, 5 %, 50 %, 95 % and 1.
        counts: number of clips in each of `BINS` equally wide bins from `least` to `most`.
    """

    clips: int
    least: float
    low: float
    median: float
    high: float
    most: float
    counts: tuple[int, ...]


def distributions(records: Sequence[ClipRecord]) -> dict[str, Distribution]:
    """Return the distribution of each number; those that no clip has are left out."""
    found = {}
    for name in NUMBERS:
        values = sorted(value for record in records if (value := getattr(record, name)) is not None)
        if values:
            found[name] = _distribution(values)
    return found


def flag_counts(records: Sequence[ClipRecord]) -> dict[str, int]:
    """Return the number of clips with each flag; flags that no clip has a value for are left out."""
    found = {}
    for name in FLAGS:
        values = [value for record in records if (value := getattr(record, name)) is not None]
        if values:
            found[name] = sum(values)
    return found


def _distribution(values: Sequence[float]) -> Distribution:
    """Return the distribution of sorted values. A quantile is the nearest value, none in between."""
    least, low, median, high, most = (
        values[round(share * (len(values) - 1))] for share in (0, 0.05, 0.5, 0.95, 1)
    )
    counts = [0] * BINS
    for value in values:
        place = math.floor((value - least) / (most - least) * BINS) if most > least else 0
        counts[min(place, BINS - 1)] += 1
    return Distribution(len(values), least, low, median, high, most, tuple(counts))
