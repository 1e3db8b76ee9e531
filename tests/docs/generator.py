"""The modules of `docs/`, which is no package, loaded by their paths."""

import importlib.util
from functools import cache

from .markdown import ROOT


@cache
def load(name):
    """Return the module `docs/NAME.py`."""
    specification = importlib.util.spec_from_file_location(name, ROOT / f"docs/{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
