"""The tasks, one module each. A module is a task when it assigns `TASK`, a subclass of `base.Task`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...registry import Registry

if TYPE_CHECKING:
    from ...shards.schema import DatasetInfo
    from .base import Task

__all__ = ["TASKS", "task_of"]

# Importing this package imports no torch, so that the command line can list the names.
TASKS: Registry[type[Task]] = Registry(__name__, Path(__file__).parent, attribute="TASK", noun="task")


def task_of(info: DatasetInfo) -> Task:
    """Return the task that a shard directory was made for. Raises InputError for an unknown one."""
    return TASKS[info.task](info)
