"""Which versions made a result: written beside everything that is to be repeated."""

from __future__ import annotations

import importlib.metadata

from . import __version__


def package_versions(*packages: str) -> dict[str, str]:
    """The version of `stgcma` and of each of the installed `packages`, by name."""
    return {"stgcma": __version__} | {name: importlib.metadata.version(name) for name in packages}
