"""A video of any length as windows, each as long as the clips of a collection."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ..media.probe import COVERAGE_TOLERANCE_SECONDS
from .specification import Sampling

# Containers round times, some to 1 ms.
_ROUNDING_SECONDS = 0.001

Span = tuple[float, float]


@dataclass(frozen=True)
class Window:
    """A part `[start, end)` of a video, in seconds; `steps` are the spans of the sample's time steps."""

    start_seconds: float
    end_seconds: float
    steps: tuple[Span, ...]


@dataclass(frozen=True)
class PictureSpan:
    """The pictures `[first, last)` of a span, by their position in the order of display, and its start."""

    first: int
    last: int
    start_seconds: float


def pictures_in(start: float, end: float, times: npt.NDArray[np.float64]) -> PictureSpan:
    """Return the pictures among those at `times` `[N]` that are shown in a span, at least one.

    The start is that of a clip that is cut there: it begins with its first picture, unless it is at the
    beginning of the video or the picture before it stays for long.
    """
    edges = np.array([start, end]) - _ROUNDING_SECONDS
    first, last = (int(edge) for edge in np.searchsorted(times, edges))
    if first >= last:
        first, last = max(first - 1, 0), max(first, 1)
    late = float(times[first]) - start
    begins = start > 0 and 0 <= late <= COVERAGE_TOLERANCE_SECONDS
    return PictureSpan(first, last, float(times[first]) if begins else start)


def whole_seconds(length_seconds: float) -> tuple[Span, ...]:
    """Return the video's seconds, at least one. A rest below half a second belongs to the one before."""
    count = _count_seconds(length_seconds)
    return (*[(float(second), second + 1.0) for second in range(count - 1)], (count - 1.0, length_seconds))


def second_edges(length_seconds: float) -> npt.NDArray[np.float64]:
    """Return start and end of the seconds that `whole_seconds` returns: `[seconds, 2]`."""
    edges = np.arange(_count_seconds(length_seconds) + 1, dtype=np.float64)
    edges[-1] = length_seconds
    return np.stack([edges[:-1], edges[1:]], axis=1)


def _count_seconds(length_seconds: float) -> int:
    return max(math.floor(length_seconds + 0.5), 1)


def plan_windows(
    length_seconds: float, window_seconds: int, sampling: Sampling, *, hop_seconds: int | None = None
) -> tuple[Window, ...]:
    """Return consecutive windows; the last one is shifted back by whole seconds to end with the video.

    `hop_seconds` is the distance from one window to the next, by default `window_seconds`.

    Like clips of a collection, the last one may be up to half a second shorter or longer than the others. A
    video that is shorter than a window is a single one.
    """
    short = _count_seconds(length_seconds) < window_seconds
    covered = length_seconds if short else float(window_seconds)
    return tuple(
        Window(start, end, _steps(start, end, covered, sampling))
        for start, end in window_spans(length_seconds, window_seconds, hop_seconds=hop_seconds)
    )


def window_spans(length_seconds: float, window_seconds: int, *, hop_seconds: int | None = None) -> list[Span]:
    """Return the spans of the windows that `plan_windows` returns."""
    last = max(_count_seconds(length_seconds) - window_seconds, 0)
    starts = range(0, last, hop_seconds or window_seconds)
    spans = [(float(start), float(start + window_seconds)) for start in starts]
    return [*spans, (float(last), length_seconds)]


def _steps(start: float, end: float, covered: float, sampling: Sampling) -> tuple[Span, ...]:
    count = sampling.frames
    # Frames of seconds are a second apart, however short the clip is; others are spread over all of it.
    each = covered / count if sampling.frame_offset_seconds is None else 1.0
    edges = [min(start + each * step, end) for step in range(count)] + [end]
    return tuple(pairwise(edges))


@dataclass
class _Second:
    total: Any = 0.0
    weight: float = 0.0
    most: float = 0.0
    step: int = 0


@dataclass(frozen=True)
class MergedSecond:
    """Merged value of one second.

    Attributes:
        index: number of the second.
        span: its start and end.
        value: the mean of the steps that overlap it, weighted by the overlap.
        step: the step of the newest window that overlaps it most.
    """

    index: int
    span: Span
    value: npt.NDArray[np.floating[Any]]
    step: int


@dataclass
class SecondsMerger:
    """Merger of values by window and step to values by second; it stores only unfinished seconds."""

    length_seconds: float
    windows: tuple[Window, ...]
    _next: int = 0
    _done: int = 0
    _open: dict[int, _Second] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of seconds."""
        return len(whole_seconds(self.length_seconds))

    def add(self, values: npt.NDArray[np.floating[Any]]) -> Iterator[MergedSecond]:
        """Add the next window's values `[T, …]`; yield the seconds that no later window overlaps."""
        window = self.windows[self._next]
        self._next += 1
        seconds = whole_seconds(self.length_seconds)
        for step, (start, end) in enumerate(window.steps):
            for index in range(int(start), min(math.ceil(end), len(seconds))):
                overlap = min(end, seconds[index][1]) - max(start, seconds[index][0])
                if overlap > 0:
                    self._note(index, step, overlap, values[step])
        finished = self._next == len(self.windows)
        until = len(seconds) if finished else int(self.windows[self._next].start_seconds)
        for index in range(self._done, until):
            second = self._open.pop(index)
            yield MergedSecond(index, seconds[index], second.total / second.weight, second.step)
        self._done = until

    def _note(self, index: int, step: int, overlap: float, value: npt.NDArray[np.floating[Any]]) -> None:
        second = self._open.setdefault(index, _Second())
        second.total = second.total + overlap * value
        second.weight += overlap
        if overlap >= second.most:
            second.most, second.step = overlap, step
