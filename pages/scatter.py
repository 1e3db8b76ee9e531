"""Scatter plots as inline SVG: one numbered point a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .axes import BOTTOM, COLOURS, HEIGHT, LEFT, RIGHT, WIDTH, Frame, Labels, grid, round_ticks, share_ticks


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
        *(_point(frame, number, point) for number, point in enumerate(points)),
        "</svg>",
    ]
    return Scatter(title, "".join(parts), tuple(point.name for point in points))


def _column(frame: Frame, tick: float, text: Labels) -> str:
    place = f'x="{frame.x(tick)}" y="{HEIGHT - BOTTOM + 18}"'
    return f'<text text-anchor="middle" {place}>{text.value(tick, tick=True)}</text>'


def _point(frame: Frame, number: int, point: Point) -> str:
    x, y = frame.x(point.cost), frame.y(point.score)
    low, high = (
        frame.y(min(max(point.score + sign * point.deviation, frame.low), frame.high)) for sign in (-1, 1)
    )
    bar = f'<polyline points="{x},{low} {x},{high}"/>' if point.deviation else ""
    # On the side where there is room.
    side, shift = ("start", 8) if x < WIDTH - RIGHT - 20 else ("end", -8)
    name = f'<text text-anchor="{side}" x="{x + shift}" y="{y - 6}">{number + 1}</text>'
    return f'<g class="series-{number % COLOURS}">{bar}<circle cx="{x}" cy="{y}" r="5"/></g>{name}'
