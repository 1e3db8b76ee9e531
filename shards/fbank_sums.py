"""Sums over the values of fbanks, from which the audio statistics of a directory follow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from .additions import Sums
from .members import read_array
from .schema import AudioStatistics

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def fbank_sums(features: npt.NDArray[np.float16]) -> Sums:
    """Return the sums of an fbank member's values."""
    values = features.astype("float64")
    total = float(values.sum())
    values *= values  # in place: a second array of megabytes costs four times as much as the sums
    return total, float(values.sum()), values.size


def sums_of_members(members: Iterable[tuple[str, bytes]]) -> dict[str, Sums]:
    """Return the sums of each fbank among a clip's members, (suffix, bytes). Raises as `read_array`."""
    return {
        suffix.removesuffix(".npy"): fbank_sums(read_array(content, suffix))
        for suffix, content in members
        if suffix.startswith("fbank_")
    }


def add_sums(total: dict[str, Sums], new: Mapping[str, Sums]) -> None:
    """Add a clip's sums to those of its shard, in the shard's order, on which floating-point sums depend."""
    for name, one in new.items():
        old = total.get(name, (0.0, 0.0, 0))
        total[name] = (old[0] + one[0], old[1] + one[1], old[2] + one[2])


def total_sums(parts: Iterable[Mapping[str, Sums]]) -> dict[str, Sums]:
    """Return the sums of all `parts` by fbank. They do not depend on the order: they are rounded once."""
    present = list(parts)
    totals: dict[str, Sums] = {}
    for name in sorted({name for sums in present for name in sums}):
        columns = zip(*(sums[name] for sums in present if name in sums), strict=True)
        total, squares, count = map(math.fsum, columns)
        totals[name] = (total, squares, int(count))
    return totals


def audio_statistics(sums: Mapping[str, Sums]) -> dict[str, AudioStatistics]:
    """Return mean and standard deviation of the values of each fbank that has some."""
    statistics = {}
    for name, (total, squares, count) in sums.items():
        if count:
            mean = total / count
            statistics[name] = AudioStatistics(mean, math.sqrt(max(squares / count - mean * mean, 0.0)))
    return statistics
