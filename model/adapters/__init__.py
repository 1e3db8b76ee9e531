"""The modules that are trained inside a frozen block: one module a method."""

from __future__ import annotations

from pathlib import Path

from ...registry import Registry
from ..records import AdapterMethod

ADAPTERS: Registry[AdapterMethod] = Registry(
    __name__, Path(__file__).parent, attribute="ADAPTER", noun="adapter"
)
"""The methods by name, such as `stg-cma`."""

__all__ = ["ADAPTERS"]
