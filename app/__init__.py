"""A web page that predicts uploaded videos with trained runs.

`serve` runs it on this machine, `build` returns it as an ASGI application, for example for a container, and
`space_files` returns the files of such a container. The extra `stgcma[app]` installs what it needs.

>>> from stgcma.app import build
>>> app = build(["run"])  # uvicorn module:app
"""

from __future__ import annotations

from .access import Access
from .limits import AppLimits
from .server import build, serve
from .space import space_files

__all__ = ["Access", "AppLimits", "build", "serve", "space_files"]
