"""The tasks, one file each."""

from __future__ import annotations

from ...shards.schema import DatasetInfo
from .ave import AveTask
from .avqa import AvqaTask
from .avs import AvsTask
from .base import Meter, Task, Tensors, Terms

__all__ = ["AveTask", "AvqaTask", "AvsTask", "Meter", "Task", "Tensors", "Terms", "task_of"]


def task_of(info: DatasetInfo) -> Task:
    """The task that a shard directory was made for."""
    tasks: tuple[type[Task], ...] = (AveTask, AvsTask, AvqaTask)
    return {task.name: task for task in tasks}[info.task](info)
