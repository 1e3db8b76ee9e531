"""Rendering of cards: YAML front matter and Markdown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..figures import duration, mebibytes, number, percent

UNKNOWN_LICENSE = "unknown"
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,59}")


def checked_license(license_: str | None) -> str:
    """Return the name of a licence in lower case; `unknown` for None. Raises InputError for no such name."""
    text = (license_ or UNKNOWN_LICENSE).lower()
    if not _LICENSE.fullmatch(text):
        raise InputError(f"license is {license_!r}, expected the Hub's name of one, such as apache-2.0")
    return text


def render_card(data: Any, template: str, **content: Any) -> bytes:
    """Return a card: the front matter of `data`, card data of the library, above the rendered template."""
    import jinja2

    environment = jinja2.Environment(  # noqa: S701  # Markdown, in which HTML's escapes would be shown
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "percent": lambda share: percent(share, 1),
        "number": number,
        "duration": duration,
        "mebibytes": mebibytes,
        "cell": cell,
    }
    text = environment.get_template(template).render(**content)
    text = re.sub(r"\n{3,}", "\n\n", text)
    return f"---\n{data.to_yaml()}\n---\n\n{text}".encode()


def cell(text: str) -> str:
    """Return a text as one cell of a Markdown table, without markup or HTML of its own.

    >>> cell("a|b <i>")
    'a\\\\|b &lt;i>'
    """
    return re.sub(r"\s+", " ", text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
