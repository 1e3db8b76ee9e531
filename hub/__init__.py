"""Runs and shards on the Hugging Face Hub: push them, and use them by name.

>>> from stgcma.hub import load_model, local_run
>>> model = load_model("hf:ORG/NAME")
>>> folder = local_run("hf:ORG/NAME@v1")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy_exports import lazy_exports

if TYPE_CHECKING:
    from .fetch import load_model, local_run
    from .names import HubName, is_hub_name, parse_name

# Loaded on first use: commands look at names before they need anything else.
_MODULES = {
    "HubName": ".names",
    "is_hub_name": ".names",
    "load_model": ".fetch",
    "local_run": ".fetch",
    "parse_name": ".names",
}
__all__ = ["HubName", "is_hub_name", "load_model", "local_run", "parse_name"]

__getattr__, __dir__ = lazy_exports(__name__, _MODULES)
