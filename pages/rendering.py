"""Rendering of templates to pages: one HTML file each, which loads no other file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import InputError
from ..figures import duration, mebibytes, number, percent, short_duration
from ..shards.files import named_errors, publish


def render(template: str, **content: Any) -> str:
    """Return the HTML of `template` with `content`, escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "percent": _percent,
        "number": number,
        "duration": duration,
        "short_duration": short_duration,
        "mebibytes": mebibytes,
    }
    return environment.get_template(template).render(version=__version__, **content)


def check_target(page: Path) -> None:
    """Raise InputError when `page` cannot be written as a file. Called before the work for the page."""
    if page.is_dir():
        raise InputError(f"{page} is a folder, the page needs the name of a file, e.g. {page / 'page.html'}")
    folder = next(parent for parent in page.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise InputError(f"{page} cannot be written: {folder} is a file, a folder is needed")


def write_page(page: Path, content: str) -> Path:
    """Write a page atomically, make its folder if needed, and return its path."""
    with named_errors(page):
        page.parent.mkdir(parents=True, exist_ok=True)
    publish(page, content.encode())
    return page


def _percent(share: float | None, digits: int = 1) -> str:
    """Return `percent(share)` with one digit, as scores are shown."""
    return percent(share, digits)
