"""Paths from annotation files are not to be trusted: they must stay inside the raw folder."""

from __future__ import annotations

from pathlib import Path

from .reasons import ClipError


def resolve_source(raw: Path, source: str, *, allow_links: bool = False) -> Path:
    """The file that `source`, a path relative to `raw`, names.

    Raises ClipError `unsafe-path` when it leads out of `raw` (by `..`, by an absolute path, or by a link
    unless `allow_links`), `missing` when there is no such file. `raw` itself may be a link.
    """
    if Path(source).is_absolute() or ".." in Path(source).parts or "\0" in source:
        raise ClipError("unsafe-path", f"{source!r} leads out of the raw folder")
    path = raw / source
    if not path.is_file():
        raise ClipError("missing", f"{source} is not in the raw folder")
    if not allow_links and not path.resolve().is_relative_to(raw.resolve()):
        raise ClipError(
            "unsafe-path", f"{source} is a link that leads out of the raw folder; see --allow-links"
        )
    return path
