"""Report every death of a child process for the task that it ran.

Pebble looks for the task of a dead process once, when it sees the death, and not at all when the process
ended with status 0. It may not have read by then that the process had taken the task: the task stayed running
until its deadline, or the whole pool was given up.
"""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from typing import Any

from pebble import ProcessExpired, ProcessPool
from pebble.common.types import Result, ResultStatus
from pebble.pool.process import PoolManager, dictionary_values


class WorkerPool(ProcessPool):
    """A pool of pebble's whose running tasks end with ProcessExpired when their process ends."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._pool_manager = _Manager(self._context, options["context"])


class _Manager(PoolManager):
    """Looks in each round for running tasks without a process, in pebble's thread for this."""

    def __init__(self, context: Any, mp_context: Any) -> None:
        super().__init__(context, mp_context)
        self._statuses: dict[int, int] = {}  # of processes that ended, by worker
        self._read: set[int] = set()  # workers among them that were seen in the round before

    def update_workers(self) -> None:
        self._statuses.update(self.worker_manager.inspect_workers())
        # A future is running only after its task got its process.
        running = [task for task in dictionary_values(self.task_manager.tasks) if task.future.running()]
        for task in running:
            if task.worker_id not in self.worker_manager.workers:
                status = self._statuses.pop(task.worker_id, 0)  # 0 is not listed
                error = ProcessExpired("it ended", code=status, pid=task.worker_id)  # type: ignore[no-untyped-call]
                self.task_manager.task_done(task.id, Result(ResultStatus.ERROR, error))
        self._forget_idle(running=bool(running))
        if running or not self._statuses:
            self.worker_manager.create_workers()  # type: ignore[no-untyped-call]

    def _forget_idle(self, *, running: bool) -> None:
        """Forget the processes that ended without a task, once what they sent has been read.

        Raises BrokenProcessPool when no other process has a task: they may all be unable to start.
        """
        channel = self.worker_manager.pool_channel
        if channel is None or channel.poll(0):
            return
        idle = self._read & self._statuses.keys()
        if idle and not running:
            raise BrokenProcessPool("all processes ended without a task")
        for worker_id in idle:
            del self._statuses[worker_id]
        self._read = set(self._statuses)
