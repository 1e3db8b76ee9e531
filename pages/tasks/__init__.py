"""The task-dependent parts of the pages, one module a task. A module assigns `VIEW`, a `base.TaskView`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...registry import Registry

if TYPE_CHECKING:
    from .base import TaskView

__all__ = ["VIEWS"]

VIEWS: Registry[TaskView] = Registry(__name__, Path(__file__).parent, attribute="VIEW", noun="task")
