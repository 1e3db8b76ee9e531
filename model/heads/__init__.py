"""The task heads: one module a task."""

from __future__ import annotations

from pathlib import Path

from ...registry import Registry
from ..records import Head

HEADS: Registry[Head] = Registry(__name__, Path(__file__).parent, attribute="HEAD", noun="task")
"""The heads by task, such as `ave`."""

__all__ = ["HEADS"]
