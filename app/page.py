"""The HTML of the page and its style sheet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..figures import mebibytes
from ..pages.rendering import render
from .examples import Example
from .limits import AppLimits
from .served_run import ServedRun

_FOLDER = Path(__file__).parent


def render_page(
    runs: Sequence[ServedRun], examples: Sequence[Example], limits: AppLimits, *, place: str
) -> str:
    """Return the page.

    Args:
        runs: to choose from.
        examples: to offer.
        limits: to state, and to check before an upload.
        place: where uploads are processed, for people.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    words = sorted({word for run in runs for word in run.question_words or ()}, key=str.casefold)
    return environment.get_template("page.html.j2").render(
        version=__version__,
        runs=runs,
        words=words,
        asks=any(run.question_words is not None for run in runs),
        examples=examples,
        place=place,
        largest=mebibytes(limits.upload_bytes),
        longest=f"{limits.longest_seconds / 60:g} minutes",
        settings=json.dumps(_settings(limits)),
    )


def _settings(limits: AppLimits) -> dict[str, Any]:
    return {
        "largest": limits.upload_bytes,
        "largestText": mebibytes(limits.upload_bytes),
        "recordSeconds": min(limits.longest_seconds, 60),
    }


def stylesheet() -> str:
    """Return the style of the other pages, followed by that of this one."""
    return f"{render('style.css')}\n{(_FOLDER / 'static' / 'app.css').read_text('utf-8')}"
