"""Line charts as inline SVG, coloured by the style of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .axes import (
    COLOURS,
    HEIGHT,
    LEFT,
    RIGHT,
    STEPS,
    WIDTH,
    Frame,
    Labels,
    grid,
    round_step,
    round_ticks,
    share_ticks,
)


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
    ticks = share_ticks(values) if percent else round_ticks(0.0, max(values, default=1.0))
    frame = Frame(epochs[0], epochs[-1], ticks[0], ticks[-1])
    text = Labels(percent, ticks)
    label = escape(_summary(text, title, series))
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">',
        *(grid(frame, text, tick) for tick in ticks),
        *(_epoch_label(frame, epoch) for epoch in _whole_ticks(epochs[0], epochs[-1])),
        f'<text text-anchor="middle" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}">epoch</text>',
        *(_line(frame, number, line) for number, line in enumerate(series)),
        "</svg>",
    ]
    rows = tuple((str(epoch), *(text.value(line.at(epoch)) for line in series)) for epoch in epochs)
    return Chart(title, "".join(parts), tuple(line.name for line in series), rows)


def _summary(text: Labels, title: str, series: Sequence[Series]) -> str:
    """Return a text in place of the drawing: the first and the last value of each line."""
    ends = [
        f"{line.name} from {text.value(line.points[0][1])} to {text.value(line.points[-1][1])}"
        for line in series
    ]
    return f"{title}: {'; '.join(ends)}"


def _epoch_label(frame: Frame, epoch: int) -> str:
    place = f'x="{frame.x(epoch)}" y="{HEIGHT - 22}"'
    return f'<text text-anchor="middle" {place}>{epoch}</text>'


def _line(frame: Frame, number: int, line: Series) -> str:
    points = [(frame.x(epoch), frame.y(value)) for epoch, value in line.points if math.isfinite(value)]
    dashed = " dashed" if number >= COLOURS else ""
    path = " ".join(f"{x},{y}" for x, y in points)
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="3"/>' for x, y in points)
    return f'<g class="series-{number % COLOURS}{dashed}"><polyline points="{path}"/>{dots}</g>'


def _whole_ticks(first: int, last: int) -> list[int]:
    """Return the first and the last epoch with round ones between, at most `STEPS` + 2 in all."""
    step = max(1, round(round_step((last - first) / STEPS))) if last > first else 1
    inner = [epoch for epoch in range(0, last + 1, step) if first + step / 2 < epoch < last - step / 2]
    return sorted({first, *inner, last})
