"""Scatter plots as inline SVG: one numbered point a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from .axes import (
    BOTTOM,
    COLOURS,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Frame,
    Labels,
    grid,
    round_ticks,
    share_ticks,
)

# Of the middles of two numbers, or of a number and a point or line, in pixels.
_APART = 11.5
# Places of a number around its point: to the side, and down.
_AROUND = ((12, -10), (13, 1), (12, 11), (12, -22), (26, -10), (26, 1), (12, 23))


@dataclass(frozen=True)
class Point:
    """A model: a cost, its score, and the deviation of the score over the seeds (0 for one seed)."""

    name: str
    cost: float
    score: float
    deviation: float = 0.0


@dataclass(frozen=True)
class Scatter:
    """A drawn plot: its title, the drawing, and the names of the points in the order of their colours."""

    title: str
    svg: str
    names: tuple[str, ...]


def scatter_plot(title: str, points: Sequence[Point], *, cost: str) -> Scatter:
    """Draw scores, shares in [0, 1], over a cost whose axis begins at 0.

    Args:
        title: of the plot.
        points: at least one.
        cost: the name of the horizontal axis, with its unit.
    """
    ends = [point.score + sign * point.deviation for point in points for sign in (-1, 1)]
    rows = share_ticks(ends)
    columns = round_ticks(0.0, max(point.cost for point in points))
    frame = Frame(columns[0], columns[-1], rows[0], rows[-1])
    text, costs = Labels(percent=True, ticks=rows), Labels(percent=False, ticks=columns)
    told = "; ".join(f"{p.name} {text.value(p.score)} at {costs.value(p.cost)}" for p in points)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{title}: {told}")}">',
        *(grid(frame, text, tick) for tick in rows),
        *(_column(frame, tick, costs) for tick in columns),
        f'<text text-anchor="middle" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}">{escape(cost)}</text>',
        *_points(frame, points),
        "</svg>",
    ]
    return Scatter(title, "".join(parts), tuple(point.name for point in points))


def _column(frame: Frame, tick: float, text: Labels) -> str:
    place = f'x="{frame.x(tick)}" y="{HEIGHT - BOTTOM + 18}"'
    return f'<text text-anchor="middle" {place}>{text.value(tick, tick=True)}</text>'


def _points(frame: Frame, points: Sequence[Point]) -> Iterator[str]:
    """Draw the points, each with its number where that covers no other number, no point and no line."""
    places = [(frame.x(point.cost), frame.y(point.score)) for point in points]
    bars = [_bar(frame, point) for point in points]
    taken = [
        *places,
        *((x, y) for (x, _), (high, low) in zip(places, bars, strict=True) for y in range(high, low, 8)),
    ]
    for number, (point, (x, y), (high, low)) in enumerate(zip(points, places, bars, strict=True)):
        bar = f'<polyline points="{x},{low} {x},{high}"/>' if point.deviation else ""
        yield f'<g class="series-{number % COLOURS}">{bar}<circle cx="{x}" cy="{y}" r="5"/></g>'
        left, middle = _label_place(x, y, taken)
        taken.append((left, middle))
        yield f'<text text-anchor="middle" x="{left:.1f}" y="{middle + 4:.1f}">{number + 1}</text>'


def _bar(frame: Frame, point: Point) -> tuple[int, int]:
    """Return the top and the bottom of the line of a point's deviation, in pixels."""
    ends = [point.score + sign * point.deviation for sign in (1, -1)]
    high, low = (round(frame.y(min(max(end, frame.low), frame.high))) for end in ends)
    return high, low


def _label_place(x: float, y: float, taken: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the middle of a number beside the point at `(x, y)`: the first place that is free, if any is."""
    around = [(x + side * step, y + rise) for step, rise in _AROUND for side in (1, -1)]
    inside = [
        (left, middle)
        for left, middle in around
        if LEFT <= left <= WIDTH - RIGHT and TOP <= middle <= HEIGHT - BOTTOM
    ]
    free = [
        (left, middle)
        for left, middle in inside
        if all(abs(left - u) >= _APART or abs(middle - v) >= _APART for u, v in taken)
    ]
    return (free or inside or around)[0]
