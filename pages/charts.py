"""Line charts as inline SVG, coloured by the style of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ..figures import numbers

# Small, so that numbers remain readable on a phone, which draws the chart even smaller.
_WIDTH, _HEIGHT = 420, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 12, 40
_STEPS = 5
# The number of colours in the style; further lines repeat them, dashed.
COLOURS = 6


@dataclass(frozen=True)
class Series:
    """One line: its name, and pairs of epoch and value. A value that is not finite is a gap."""

    name: str
    points: Sequence[tuple[int, float]]

    def at(self, epoch: int) -> float | None:
        """Return the value of an epoch; None for a gap."""
        return next((value for e, value in self.points if e == epoch and math.isfinite(value)), None)


@dataclass(frozen=True)
class Chart:
    """A drawn chart and its numbers.

    Attributes:
        title: of the chart.
        svg: the drawing.
        names: of the lines, in the order of their colours.
        rows: an epoch and the value of each line, as text.
    """

    title: str
    svg: str
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def line_chart(title: str, series: Sequence[Series], *, percent: bool = False) -> Chart:
    """Draw lines over the epochs; a line of one epoch is a dot.

    Args:
        title: of the chart.
        series: the lines.
        percent: the values are shares; other values have an axis that begins at 0.
    """
    epochs = sorted({epoch for line in series for epoch, _ in line.points})
    values = [value for line in series for _, value in line.points if math.isfinite(value)]
    ticks = _ticks(min(values, default=0.0) if percent else 0.0, max(values, default=1.0))
    if percent:
        ticks = [tick for tick in ticks if -1e-9 <= tick <= 1 + 1e-9]
        if len(ticks) == 1:  # every share is 1
            ticks = [0.0, *ticks]
    frame = _Frame(epochs[0], epochs[-1], ticks[0], ticks[-1])
    text = _Text(percent, ticks)
    label = escape(text.summary(title, series))
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">',
        *(_grid(frame, text, tick) for tick in ticks),
        *(_epoch_label(frame, epoch) for epoch in _whole_ticks(epochs[0], epochs[-1])),
        f'<text text-anchor="middle" x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 6}">epoch</text>',
        *(_line(frame, number, line) for number, line in enumerate(series)),
        "</svg>",
    ]
    rows = tuple((str(epoch), *(text.value(line.at(epoch)) for line in series)) for epoch in epochs)
    return Chart(title, "".join(parts), tuple(line.name for line in series), rows)


@dataclass(frozen=True)
class _Frame:
    """Scales of the chart: from epochs and values to pixels."""

    first: int
    last: int
    low: float
    high: float

    def x(self, epoch: int) -> float:
        # A single epoch is in the middle.
        share = (epoch - self.first) / (self.last - self.first) if self.last > self.first else 0.5
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(_TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM), 1)


@dataclass(frozen=True)
class _Text:
    """Values as text, with the digits that distinguish the ticks."""

    percent: bool
    ticks: Sequence[float]

    def value(self, value: float | None, *, tick: bool = False) -> str:
        if value is None:
            return "–"
        if self.percent:
            return numbers.percent(round(value, 9), self._digits(100) if tick else 1)
        return f"{value:.{self._digits() + (0 if tick else 2)}f}"

    def _digits(self, scale: float = 1) -> int:
        step = scale * (self.ticks[1] - self.ticks[0])
        return max(0, -math.floor(math.log10(step) + 1e-9))

    def summary(self, title: str, series: Sequence[Series]) -> str:
        """Return a text in place of the drawing: the first and the last value of each line."""
        ends = [
            f"{line.name} from {self.value(line.points[0][1])} to {self.value(line.points[-1][1])}"
            for line in series
        ]
        return f"{title}: {'; '.join(ends)}"


def _grid(frame: _Frame, text: _Text, tick: float) -> str:
    y = frame.y(tick)
    label = text.value(tick, tick=True)
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        f'<text text-anchor="end" x="{_LEFT - 6}" y="{y + 4}">{label}</text>'
    )


def _epoch_label(frame: _Frame, epoch: int) -> str:
    place = f'x="{frame.x(epoch)}" y="{_HEIGHT - 22}"'
    return f'<text text-anchor="middle" {place}>{epoch}</text>'


def _line(frame: _Frame, number: int, line: Series) -> str:
    points = [(frame.x(epoch), frame.y(value)) for epoch, value in line.points if math.isfinite(value)]
    dashed = " dashed" if number >= COLOURS else ""
    path = " ".join(f"{x},{y}" for x, y in points)
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="3"/>' for x, y in points)
    return f'<g class="series-{number % COLOURS}{dashed}"><polyline points="{path}"/>{dots}</g>'


def _ticks(low: float, high: float) -> list[float]:
    """Return multiples of a round step that cover `low` to `high`, in about `_STEPS` steps."""
    step = _round_step((high - low) / _STEPS or abs(high) / _STEPS or 1 / _STEPS)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _whole_ticks(first: int, last: int) -> list[int]:
    """Return the first and the last epoch with round ones between, at most `_STEPS` + 2 in all."""
    step = max(1, round(_round_step((last - first) / _STEPS))) if last > first else 1
    inner = [epoch for epoch in range(0, last + 1, step) if first + step / 2 < epoch < last - step / 2]
    return sorted({first, *inner, last})
