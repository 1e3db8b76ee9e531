"""Templates to finished pages: one file each, with everything in it."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from .. import __version__
from ..console import mebibytes
from ..errors import InputError
from ..shards.files import named_errors, publish


def render(template: str, **content: Any) -> str:
    """The page that `template` makes of `content`."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "percent": percent,
        "number": number,
        "duration": duration,
        "mebibytes": mebibytes,
    }
    return environment.get_template(template).render(version=__version__, **content)


def write_page(path: Path, page: str) -> Path:
    """Writes a page, whole or not at all; its folder is made. Raises InputError when `path` is a folder."""
    if path.is_dir():
        raise InputError(f"{path} is a folder, the page needs the name of a file, e.g. {path / 'page.html'}")
    with named_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    publish(path, page.encode())
    return path


def percent(share: float | None) -> str:
    """A share for a person; a dash where nothing was counted."""
    return "–" if share is None or share != share else f"{100 * share:.1f} %"


def number(value: float) -> str:
    """A count with its thousands apart."""
    return f"{value:,}"


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds, without fractions."""
    return str(datetime.timedelta(seconds=round(seconds)))
