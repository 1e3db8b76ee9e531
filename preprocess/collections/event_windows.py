"""Labels of a window's time steps from the events of its recording.

An event belongs to the steps of which it covers at least half, and to the one that it covers most: so a short
event marks one step, and none is lost. Of two that it covers equally, the earlier one counts.

Dimensions: T time steps, C classes.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .event_rows import AUDIBLE, MODALITIES, EventRow
from .windows import Span

_HALF = 0.5
# Indices of the modalities of an event, as those of an array.
_ROWS = {name: [0 if modality == AUDIBLE else 1 for modality in parts] for name, parts in MODALITIES.items()}
# Times are decimal numbers: half of a second may be 0.4999….
_ROUNDING = 1e-6


def marked_steps(onset: float, offset: float, steps: Sequence[Span]) -> list[int]:
    """Return the numbers of the steps that an event from `onset` to `offset` belongs to, in order.

    The steps are those of the whole recording, without gaps; steps without a length at its end are padding.
    A point belongs to the step that it is in, or to the last one.
    """
    # The steps from the one that contains the onset to the one that contains the offset, without padding.
    # A pair sorts before every pair with the same start and another end, and (start, inf) after them.
    first = max(bisect_right(steps, (onset, math.inf)) - 1, 0)
    last = bisect_left(steps, (offset, -math.inf), lo=first)
    if onset == offset:
        while first >= 0 and steps and steps[first][0] == steps[first][1]:
            first -= 1
        return [first] if steps and first >= 0 and onset >= steps[first][0] else []
    covered = {
        number: min(offset, end) - max(onset, start)
        for number, (start, end) in enumerate(steps[first:last], start=first)
        if end > start
    }
    marked = [
        number
        for number, seconds in covered.items()
        if seconds >= _HALF * (steps[number][1] - steps[number][0]) - _ROUNDING
    ]
    if marked or not covered:
        return marked
    most = max(covered.values())
    return [next(number for number, one in covered.items() if one >= most - _ROUNDING)] if most > 0 else []


def step_events(
    events: Sequence[EventRow], steps: Sequence[Span], classes: Sequence[str]
) -> npt.NDArray[np.uint8]:
    """Return the events of each step: uint8 `[2, T, C]`, index 0 audible and 1 visible ones."""
    found = np.zeros((2, len(steps), len(classes)), dtype=np.uint8)
    index = {name: number for number, name in enumerate(classes)}
    for event in events:
        # The steps of an event follow each other.
        if marked := marked_steps(event.onset, event.offset, steps):
            found[_ROWS[event.modality], marked[0] : marked[-1] + 1, index[event.label]] = 1
    return found


def step_labels(found: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    """Return the class of each step `[T]` from `step_events`, C where there is none; at most one has any."""
    either = found.max(axis=0)
    return tuple(np.where(either.any(axis=1), either.argmax(axis=1), either.shape[1]).tolist())
