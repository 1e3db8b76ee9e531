"""Labels of a window's time steps from the events of its recording.

An event belongs to the steps of which it covers at least half, and to the one that it covers most: so a short
event marks one step, and none is lost. Of two that it covers equally, the earlier one counts.

Dimensions: T time steps, C classes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from .event_rows import AUDIBLE, MODALITIES, VISIBLE, EventRow
from .windows import Span

_HALF = 0.5
# Indices of the modalities of an event, as those of an array.
_ROWS = {
    name: slice(0 if AUDIBLE in parts else 1, 2 if VISIBLE in parts else 1)
    for name, parts in MODALITIES.items()
}
# Times are decimal numbers: half of a second may be 0.4999….
_ROUNDING = 1e-6


def marked_steps(
    onset: float, offset: float, steps: Sequence[Span], starts: Sequence[float] | None = None
) -> range:
    """Return the numbers of the steps that an event from `onset` to `offset` belongs to.

    The steps are those of the whole recording, without gaps; steps without a length at its end are padding.
    `starts` are their starts, for callers with many events. A point belongs to the step that it is in, or to
    the last one.
    """
    if starts is None:
        starts = [start for start, _ in steps]
    # The steps from the one that contains the onset to the one that contains the offset.
    first = max(bisect_right(starts, onset) - 1, 0)
    if onset == offset:
        while first >= 0 and steps and steps[first][0] == steps[first][1]:
            first -= 1
        return range(first, first + 1) if steps and first >= 0 and onset >= steps[first][0] else range(0)
    last = bisect_left(starts, offset, lo=first)
    while last > first and steps[last - 1][0] == steps[last - 1][1]:
        last -= 1
    if first == last:
        return range(0)
    # All steps between the first and the last one are covered.
    begin = first if _is_half_covered(onset, offset, steps[first]) else first + 1
    end = last if _is_half_covered(onset, offset, steps[last - 1]) else last - 1
    if begin < end:
        return range(begin, end)
    covered = [_covered(onset, offset, steps[number]) for number in (first, last - 1)]
    most = max(covered)
    chosen = first if covered[0] >= most - _ROUNDING else last - 1
    return range(chosen, chosen + 1) if most > 0 else range(0)


def _covered(onset: float, offset: float, step: Span) -> float:
    """Return the seconds of a step that an event covers."""
    return min(offset, step[1]) - max(onset, step[0])


def _is_half_covered(onset: float, offset: float, step: Span) -> bool:
    return _covered(onset, offset, step) >= _HALF * (step[1] - step[0]) - _ROUNDING


def step_events(
    events: Iterable[EventRow], steps: Sequence[Span], classes: Sequence[str]
) -> npt.NDArray[np.uint8]:
    """Return the events of each step: uint8 `[2, T, C]`, index 0 audible and 1 visible ones."""
    found = np.zeros((2, len(steps), len(classes)), dtype=np.uint8)
    index = {name: number for number, name in enumerate(classes)}
    starts = [start for start, _ in steps]
    for _, onset, offset, label, modality in events:
        marked = marked_steps(onset, offset, steps, starts)
        found[_ROWS[modality], marked.start : marked.stop, index[label]] = 1
    return found


def step_labels(found: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    """Return the class of each step `[T]` from `step_events`, C where there is none; at most one has any."""
    either = found.max(axis=0)
    return tuple(np.where(either.any(axis=1), either.argmax(axis=1), either.shape[1]).tolist())
