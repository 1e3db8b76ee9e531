"""Small histograms as inline SVG, coloured by the style of the page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT = 144, 28


def histogram(counts: Sequence[int], label: str) -> str:
    """Draw bars whose heights are proportional to `counts`; a count above 0 is at least a pixel high."""
    step, most = _WIDTH / len(counts), max(*counts, 1)
    bars = []
    for place, count in enumerate(counts):
        if count:
            height = max(round(count / most * _HEIGHT, 1), 1)
            x, y = round(place * step, 1), round(_HEIGHT - height, 1)
            bars.append(f'<rect x="{x}" y="{y}" width="{round(step - 1, 1)}" height="{height}"/>')
    return (
        f'<svg class="histogram" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'role="img" aria-label="{escape(label)}">{"".join(bars)}</svg>'
    )
