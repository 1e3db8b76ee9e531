"""The largest connected part of a mask."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


def largest_object(mask: Mask) -> Mask:
    """Return the largest part of a mask `[H, W]` whose pixels touch, corners included; the first of equals.

    An empty mask stays empty.
    """
    runs = _runs(mask)
    parents = list(range(len(runs)))

    def root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    above, row_start = 0, 0
    for run, (row, start, stop) in enumerate(runs):
        if run and runs[run - 1][0] != row:
            above, row_start = row_start, run
        for other in range(above, row_start):
            other_row, other_start, other_stop = runs[other]
            if other_row == row - 1 and other_start <= stop and start <= other_stop:
                parents[max(root(run), root(other))] = min(root(run), root(other))
    sizes = np.zeros(len(runs), dtype=np.int64)
    for run, (_, start, stop) in enumerate(runs):
        sizes[root(run)] += stop - start
    largest = np.zeros_like(mask)
    for run, (row, start, stop) in enumerate(runs):
        if root(run) == sizes.argmax():
            largest[row, start:stop] = True
    return largest


def _runs(mask: Mask) -> list[tuple[int, int, int]]:
    """Return the runs of ones, row by row: row, start and stop."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    stops = np.nonzero(edges == -1)[1]
    return list(zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True))
