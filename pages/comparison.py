"""One self-contained HTML page of models that were compared: a table, and scores over what they cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from ..train.comparison import ComparedModel, Comparison
from .rendering import check_target, render, write_page
from .scatter import Point, Scatter, scatter_plot

PAGE = "comparison.html"
# Ids and titles of the page's sections, in order.
_SECTIONS = {"table": "Models", "plots": "Scores and costs"}


def write_comparison(comparison: Comparison, page: Path) -> Path:
    """Write the page and return its path. Raises InputError when it cannot be written there."""
    check_target(page)
    content = render(
        "comparison.html.j2",
        title=f"Comparison: {comparison.preset}",
        sections=_SECTIONS,
        comparison=comparison,
        score_label=comparison.score_name,
        best=max((m.mean for m in comparison.models if math.isfinite(m.mean)), default=math.nan),
        plots=plots(comparison),
    )
    return write_page(page, content)


def plots(comparison: Comparison) -> list[Scatter]:
    """Return scores over trained parameters, over memory and over time."""
    label = f"{comparison.split} {comparison.score_name}"

    costs: dict[str, tuple[str, Callable[[ComparedModel], float]]] = {
        "trained parameters": ("10⁶ trained parameters", lambda model: model.trained_parameters / 1e6),
        "memory": ("MiB of training on one clip", lambda model: model.clip_memory_bytes / 2**20),
        "time": ("seconds a step", lambda model: model.step_seconds),
    }
    scored = [model for model in comparison.models if math.isfinite(model.mean)]
    if not scored:  # the split has nothing to score
        return []
    return [
        scatter_plot(
            f"{label} over {what}",
            [Point(one.label, cost(one), one.mean, one.std or 0.0) for one in scored],
            cost=axis,
        )
        for what, (axis, cost) in costs.items()
    ]
