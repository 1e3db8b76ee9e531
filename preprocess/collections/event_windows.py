"""Labels of a window's time steps from the events of its recording.

An event belongs to the steps of which it covers at least half, and to the one that it covers most: so a short
event marks one step, and none is lost. Of two that it covers equally, the earlier one counts.

Dimensions: T time steps, C classes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .event_rows import AUDIBLE, MODALITIES, VISIBLE, EventList
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


def marked_ranges(
    times: npt.NDArray[np.float64], steps: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the first and the last number plus 1 of the steps of many events, as `marked_steps`.

    `times` are onset and offset of each event `[E, 2]`, `steps` start and end of each step `[T, 2]`; both
    results are `[E]`, equal for no step.
    """
    onsets, offsets = times.T
    starts, ends = np.ascontiguousarray(steps.T)
    long = np.flatnonzero(starts < ends)
    after = np.searchsorted(long, np.arange(len(steps) + 1))  # of i: number of steps with a length below i
    ends_at = np.concatenate([[0], long + 1])[after]  # of i: end of the last one of these, from 0

    def covered(number: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        here: npt.NDArray[np.float64] = np.minimum(offsets, ends[number]) - np.maximum(onsets, starts[number])
        return here

    def is_half(number: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        half: npt.NDArray[np.bool_] = covered(number) >= _HALF * (ends[number] - starts[number]) - _ROUNDING
        return half

    first = np.maximum(np.searchsorted(starts, onsets, side="right") - 1, 0)
    until = np.maximum(np.searchsorted(starts, offsets, side="left"), first)
    until = np.where(until > first, np.maximum(ends_at[until], first), until)
    last = np.maximum(until - 1, 0)
    begin = np.where(is_half(first), first, first + 1)
    end = np.where(is_half(last), until, until - 1)
    # Of a short event the step that it covers most.
    one, other = covered(first), covered(last)
    most = np.maximum(one, other)
    chosen = np.where(one >= most - _ROUNDING, first, last)
    short = begin >= end
    begin, end = np.where(short, chosen, begin), np.where(short, chosen + (most > 0), end)
    end = np.where(first == until, begin, end)
    # A point belongs to the step that it is in.
    within = ends_at[first + 1] - 1
    inside = (within >= 0) & (onsets >= starts[np.maximum(within, 0)])
    is_point = onsets == offsets
    begin = np.where(is_point, np.maximum(within, 0), begin)
    return begin, np.where(is_point, begin + inside, end)


def step_events(
    events: EventList, steps: npt.NDArray[np.float64], classes: Sequence[str]
) -> npt.NDArray[np.uint8]:
    """Return the events of each step: uint8 `[2, T, C]`, index 0 audible and 1 visible ones.

    `steps` are start and end of each `[T, 2]`.
    """
    found = np.zeros((2, len(steps), len(classes)), dtype=np.uint8)
    index = {name: number for number, name in enumerate(classes)}
    begin, end = (each.tolist() for each in marked_ranges(events.times, steps))
    labels = map(index.__getitem__, events.labels)
    for modality, first, until, label in zip(events.modalities, begin, end, labels, strict=True):
        found[_ROWS[modality], first:until, label] = 1
    return found


def step_labels(found: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    """Return the class of each step `[T]` from `step_events`, C where there is none; at most one has any."""
    either = found.max(axis=0)
    return tuple(np.where(either.any(axis=1), either.argmax(axis=1), either.shape[1]).tolist())
