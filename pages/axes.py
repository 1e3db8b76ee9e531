"""Scales, ticks and labels of the charts of pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..figures import numbers

# Small, so that numbers remain readable on a phone, which draws the chart even smaller.
WIDTH, HEIGHT = 420, 240
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 40
STEPS = 5
# The number of colours in the style.
COLOURS = 6


@dataclass(frozen=True)
class Frame:
    """Scales of a chart: from values to pixels."""

    first: float
    last: float
    low: float
    high: float

    def x(self, value: float) -> float:
        """Return the place from the left; a single value is in the middle."""
        share = (value - self.first) / (self.last - self.first) if self.last > self.first else 0.5
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """Return the place from the top."""
        share = (value - self.low) / (self.high - self.low)
        return round(TOP + (1 - share) * (HEIGHT - TOP - BOTTOM), 1)


@dataclass(frozen=True)
class Labels:
    """Values as text, with the digits that distinguish the ticks."""

    percent: bool
    ticks: Sequence[float]

    def value(self, value: float | None, *, tick: bool = False) -> str:
        """Return the value of a point, or of a `tick`, as text."""
        if value is None:
            return "–"
        if self.percent:
            return numbers.percent(round(value, 9), self._digits(100) if tick else 1)
        return f"{value:.{self._digits() + (0 if tick else 2)}f}"

    def _digits(self, scale: float = 1) -> int:
        step = scale * (self.ticks[1] - self.ticks[0])
        return max(0, -math.floor(math.log10(step) + 1e-9))


def grid(frame: Frame, text: Labels, tick: float) -> str:
    """Draw the line of a tick on the vertical axis, with its value."""
    y = frame.y(tick)
    label = text.value(tick, tick=True)
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
        f'<text text-anchor="end" x="{LEFT - 6}" y="{y + 4}">{label}</text>'
    )


def share_ticks(shares: Sequence[float]) -> list[float]:
    """Return ticks that cover `shares`, within 0 and 1."""
    ticks = round_ticks(min(shares, default=0.0), max(shares, default=1.0))
    ticks = [tick for tick in ticks if -1e-9 <= tick <= 1 + 1e-9]
    return ticks if len(ticks) > 1 else [0.0, *ticks]  # every share is 1


def round_ticks(low: float, high: float) -> list[float]:
    """Return multiples of a round step that cover `low` to `high`, in about `STEPS` steps."""
    step = round_step((high - low) / STEPS or abs(high) / STEPS or 1 / STEPS)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def round_step(least: float) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
