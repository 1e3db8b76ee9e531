"""Line charts as inline SVG: sharp at any width, and coloured by the page's style, light or dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 520, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 90, 30, 34
_TICKS = 5


@dataclass(frozen=True)
class Series:
    """One line: a name and a value for every x."""

    name: str
    values: Sequence[float]


def line_chart(title: str, x: Sequence[int], series: Sequence[Series], *, percent: bool = False) -> str:
    """An SVG of `series` over `x`. With `percent` the values are shares and the axis is 0 to 100 %."""
    step = 0.2 if percent else _round_step(max(max(line.values) for line in series) / _TICKS)
    highest = step * _TICKS
    span = max(x[-1] - x[0], 1)

    def point(at: float, value: float) -> tuple[float, float]:
        across = _LEFT + (at - x[0]) / span * (_WIDTH - _LEFT - _RIGHT)
        down = _TOP + (1 - value / highest) * (_HEIGHT - _TOP - _BOTTOM)
        return round(across, 1), round(down, 1)

    label = escape(_description(title, series, percent))
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">']
    parts.append(f'<text x="{_LEFT}" y="18" class="chart-title">{escape(title)}</text>')
    for tick in range(_TICKS + 1):
        value = step * tick
        _, y = point(x[0], value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        text = _format(value, percent)
        parts.append(f'<text class="tick" text-anchor="end" x="{_LEFT - 6}" y="{y + 4}">{text}</text>')
    for at in sorted({x[0], x[len(x) // 2], x[-1]}):
        across, _ = point(at, 0)
        parts.append(f'<text class="tick" text-anchor="middle" x="{across}" y="{_HEIGHT - 14}">{at}</text>')
    ends = _spread([point(x[-1], line.values[-1])[1] for line in series])
    for number, (line, end) in enumerate(zip(series, ends, strict=True)):
        points = " ".join(f"{a},{b}" for a, b in map(point, x, line.values))
        parts.append(f'<polyline class="line line-{number}" points="{points}"/>')
        beside = f'x="{_WIDTH - _RIGHT + 6}" y="{end + 4}"'
        parts.append(f'<text class="name line-{number}" {beside}>{escape(line.name)}</text>')
    parts.append("</svg>")
    return "".join(parts)


def _round_step(least: float) -> float:
    """The next larger of 1, 2, 2.5, 5 times a power of ten."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least)


def _format(value: float, percent: bool) -> str:
    return f"{value:.0%}" if percent else f"{value:.2f}"


def _description(title: str, series: Sequence[Series], percent: bool) -> str:
    ends = "; ".join(
        f"{line.name} from {_format(line.values[0], percent)} to {_format(line.values[-1], percent)}"
        for line in series
    )
    return f"{title}: {ends}"


def _spread(heights: list[float], gap: float = 14) -> list[float]:
    """Label heights moved apart where they would lie on each other."""
    placed: dict[int, float] = {}
    lowest = float("-inf")
    for index in sorted(range(len(heights)), key=lambda i: heights[i]):
        lowest = placed[index] = max(heights[index], lowest + gap)
    return [placed[index] for index in range(len(heights))]
