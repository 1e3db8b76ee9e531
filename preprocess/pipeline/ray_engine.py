"""The engine that makes shards in actors of a Ray cluster, or of a local Ray.

An actor corresponds to a thread of the local engine: it has one isolated decoding process, and writes whole
shards. OUT and RAW must be reachable from every node: shared folders, or URLs.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...console import message
from ...errors import InputError, StgcmaError
from ...shards.storage import is_url
from ..collections.specification import ClipSpecification
from ..media.isolation import IsolatedPool
from ..media.reasons import ClipError
from ..media.tools import tool_versions
from .engines import MakeSample, OnClip, make_shard, open_pool
from .options import Limits
from .shard_plan import ShardTask
from .shard_result import ShardResult

# When a node is lost, the shard is made again elsewhere. An actor may be lost any number of times, because
# with many shards and few workers it runs for long.
_TRIES_AGAIN_PER_SHARD = 3
_RESTARTS_WITHOUT_END = -1
_TRIES_AGAIN_PER_WORKER = 100
_PAUSE_SECONDS = 2.0
_PATIENCE_SECONDS = 10.0
_REMINDER_SECONDS = 60.0


class _LostActorError(Exception):
    """An actor whose node or process was lost, more often than Ray repeats a call."""


@dataclass(frozen=True)
class RayEngine:
    """Engine on the cluster at `address`, or on a local Ray that is started for the run."""

    address: str | None = None

    def __call__(
        self,
        tasks: Sequence[ShardTask],
        make: MakeSample,
        folder: str,
        *,
        workers: int,
        limits: Limits,
        on_clip: OnClip,
    ) -> Generator[ShardResult]:
        """Make the shards of `tasks` with `workers` actors, and yield each when it is finished."""
        if folder.startswith("memory://"):
            raise InputError(f"OUT {folder} is in this process alone; engine ray needs a folder or a URL")
        ray = _import_ray()
        folder = folder if is_url(folder) else os.path.abspath(folder)  # noqa: PTH100 (no Path: it may be a URL)
        started = _connect(ray, self.address, workers)
        kind = ray.remote(
            num_cpus=1, max_restarts=_RESTARTS_WITHOUT_END, max_task_retries=_TRIES_AGAIN_PER_SHARD
        )(ShardActor)
        actors = [kind.remote(make, limits, folder) for _ in range(min(workers, len(tasks)))]
        try:
            yield from _dispatch(ray, actors, tasks, on_clip)
        finally:
            for actor in actors:
                ray.kill(actor)
            if started:
                ray.shutdown()


class ShardActor:
    """Actor in the cluster that makes one shard after the other."""

    def __init__(self, make: MakeSample, limits: Limits, folder: str) -> None:
        self._make = make
        self._folder = folder
        self._limits = limits
        self._pool: IsolatedPool | None = None

    def ready(self) -> dict[str, str]:
        """Return the versions of the actor's tools, once it has started."""
        return tool_versions()

    def make_shard(self, task: ShardTask) -> tuple[ShardResult, list[ClipError | None]]:
        """Return the shard's result, and the error or None of each of its clips."""
        if self._pool is None:  # not in __init__, whose errors Ray reports as the actor's death
            self._pool = open_pool(self._limits)
        outcomes: list[ClipError | None] = []

        def on_clip(_clip: ClipSpecification, outcome: ClipError | None) -> None:
            outcomes.append(outcome)

        return make_shard(task, self._make, self._pool, self._folder, on_clip), outcomes


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when it is imported
    try:
        import ray
    except ImportError:
        raise InputError("engine ray needs Ray; pip install 'stgcma[ray]'") from None
    return ray


def _connect(ray: Any, address: str | None, workers: int) -> bool:
    """Connect this process to a cluster; return True when it was not connected before."""
    if ray.is_initialized():
        return False
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    local: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR", **local)
    except Exception as error:  # Ray raises no narrower one when its processes do not start
        reason = " ".join(str(error).split())
        raise StgcmaError(
            f"no Ray cluster answers at {address}: {reason}; see the option ray_address"
        ) from error
    return True


def _dispatch(
    ray: Any, actors: list[Any], tasks: Sequence[ShardTask], on_clip: OnClip
) -> Iterator[ShardResult]:
    """Give tasks to free actors. An actor that does not start gets none.

    While no actor has started, a message states the reason for waiting.
    """
    waiting = deque(tasks)
    lost: Counter[str] = Counter()
    running: dict[Any, tuple[Any, ShardTask | None]] = {
        actor.ready.remote(): (actor, None) for actor in actors
    }
    left = len(tasks)
    patience = _PATIENCE_SECONDS
    while left:
        placed = any(task is not None for _, task in running.values()) or left < len(tasks)
        done, _ = ray.wait(list(running), num_returns=1, timeout=None if placed else patience)
        if not done:
            message(_waiting(ray))
            patience = _REMINDER_SECONDS
            continue
        actor, task = running.pop(done[0])
        try:
            answer = _answer(ray, done[0], task)
        except _LostActorError as error:
            what = "a worker" if task is None else task.name
            lost[what] += 1
            if lost[what] > (_TRIES_AGAIN_PER_WORKER if task is None else _TRIES_AGAIN_PER_SHARD):
                raise StgcmaError(str(error)) from error
            if task is not None:
                waiting.appendleft(task)
            time.sleep(_PAUSE_SECONDS)  # the actor is started again, on another node
            running[actor.ready.remote()] = (actor, None)
            continue
        if task is None:
            _check_versions(answer)
        if waiting:
            following = waiting.popleft()
            running[actor.make_shard.remote(following)] = (actor, following)
        else:
            ray.kill(actor)  # its CPU may be the only one left for an actor whose node was lost
        if task is None:
            continue
        left -= 1
        result, outcomes = answer
        for clip, outcome in zip(task.clips, outcomes, strict=True):
            on_clip(clip, outcome)
        yield result


def _waiting(ray: Any) -> str:
    """Return the message for the time in which no actor has started."""
    free, total = (
        resources().get("CPU", 0.0) for resources in (ray.available_resources, ray.cluster_resources)
    )
    return (
        f"waiting for the Ray cluster: a worker needs a CPU, {free:g} of its {total:g} are free; end other "
        "work there or add a node, or use the local engine"
    )


def _check_versions(there: dict[str, str]) -> None:
    """Raise StgcmaError when a node's tools have other versions than those of this machine's plan."""
    here = tool_versions()
    for name in sorted(here.keys() | there.keys()):
        if there.get(name) != here.get(name):
            raise StgcmaError(
                f"a node of the Ray cluster has {name} {there.get(name)}, this machine has {here.get(name)}: "
                "the shards would depend on where they are made; install the same everywhere"
            )


def _answer(ray: Any, reference: Any, task: ShardTask | None) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayActorError as error:
        what = f"shard {task.index} of {task.split}" if task is not None else "a worker"
        raise _LostActorError(f"Ray lost {what}: {' '.join(str(error).split())}") from error
    except ray.exceptions.RayError as error:
        what = f"shard {task.index} of {task.split}" if task is not None else "a worker"
        raise StgcmaError(f"Ray lost {what}: {' '.join(str(error).split())}") from error
