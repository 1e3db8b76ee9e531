"""Settings that depend on the machine where they are not given: loader processes and the number format."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Literal

import torch

from ..cores import usable_cores
from .config import RunConfig, replaced
from .distributed import ProcessGroup
from .run_folder import RunFolder
from .sections import DataConfig

_MOST_WORKERS = 16  # beyond that the disk or the GPU decides, and each takes memory
_LONG_WAIT = 0.1


def resolve(config: RunConfig, group: ProcessGroup, *, recorded: RunFolder | None = None) -> RunConfig:
    """Return `config` with a value for each setting that is left to the machine, equal on all ranks.

    Args:
        config: as given.
        group: the processes that train, and their device.
        recorded: folder of the run that is resumed, whose values are taken if it holds one.
    """
    # Asked by every rank, whatever it finds in the folder, which may not be shared.
    bf16 = bool(group.gather([float(_computes_in_bf16(group.device))]).all())
    before = recorded.read_config() if recorded is not None and recorded.holds_run() else None
    workers, precision = config.data.workers, config.train.precision
    if workers is None and config.data.read == "streamed":
        workers = before.data.workers if before else 1  # the order of the clips depends on it
    elif workers is None:
        workers = loader_processes(group.device)
    if precision == "auto":
        automatic: Literal["fp32", "bf16"] = "bf16" if bf16 else "fp32"  # where one cannot, none does
        precision = before.train.precision if before else automatic
    return replaced(replaced(config, "data", workers=workers), "train", precision=precision)


def loader_processes(device: torch.device) -> int:
    """Return the number of loader processes: 1 on a CPU, which computes as well; else the cores less one."""
    if device.type == "cpu":
        return 1
    return min(max(usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)) - 1, 1), _MOST_WORKERS)


def _computes_in_bf16(device: torch.device) -> bool:
    return device.type == "cuda" and bool(torch.cuda.is_bf16_supported(including_emulation=False))


class IdleTime:
    """The time in which a GPU had nothing to do between two steps, measured on its own clock.

    event: makes an event of the device's queue.
    """

    def __init__(self, event: Callable[[], Any]) -> None:
        self._event = event
        self._end: Any = None
        self._gaps: list[tuple[Any, Any]] = []
        self._began = time.monotonic()

    def begin_step(self) -> None:
        """Call this before a step is queued."""
        if self._end is not None:
            self._gaps.append((self._end, self._recorded()))

    def end_step(self) -> None:
        """Call this after a step was queued."""
        self._end = self._recorded()

    def share(self) -> float:
        """Wait for the queue; return the share of the time since this object was made."""
        if not self._gaps:
            return 0.0
        self._gaps[-1][1].synchronize()
        idle = sum(end.elapsed_time(begin) for end, begin in self._gaps) / 1000
        return float(idle) / max(time.monotonic() - self._began, 1e-9)

    def _recorded(self) -> Any:
        event = self._event()
        event.record()
        return event


def idle_time(device: torch.device) -> IdleTime | None:
    """Return the clock of a GPU's idle time; None on a CPU."""
    if device.type != "cuda":
        return None
    return IdleTime(lambda: torch.cuda.Event(enable_timing=True))  # type: ignore[no-untyped-call]


def waiting_note(share: float, data: DataConfig) -> str | None:
    """Return advice where a GPU was idle for a large share of an epoch; None where it was not."""
    if share < _LONG_WAIT:
        return None
    # Most of a training clip's time in the loader is Pillow's augmentation.
    augmenting = data.augment and data.augment_on == "loader"
    return (
        f"the GPU was idle between steps for {100 * share:.0f} % of the first epoch, with "
        f"{data.workers or 0} loader processes; more of them (data.workers)"
        f"{', data.augment_on=device' if augmenting else ''} or a faster disk may help"
    )
