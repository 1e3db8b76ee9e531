"""Load of the machine while a run trains: memory, processor, GPU, time of a step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

_SECONDS_APART = 15.0
_STATM = Path("/proc/self/statm")  # of Linux


class SystemMetrics:
    """Means since the last sample, which are taken at most every 15 seconds.

    Args:
        device: of the training.
        clock: seconds of a clock that only runs forward.
    """

    def __init__(self, device: torch.device, clock: Callable[[], float] = time.monotonic) -> None:
        self._device, self._clock = device, clock
        self._steps = 0
        self._last, self._busy = clock(), _processor_seconds()

    def step(self) -> dict[str, float]:
        """Count a step. Return the metrics when a sample is due, else none.

        `system/step_seconds` (mean, with what lies between steps), `system/memory_bytes` (resident),
        `system/processor_percent` (100 for one busy core; this process and the loader processes that ended),
        and of a GPU `system/gpu_memory_bytes` and, where the driver tells it, `system/gpu_percent`.
        """
        self._steps += 1
        now = self._clock()
        passed = now - self._last
        if passed < _SECONDS_APART:
            return {}
        busy = _processor_seconds()
        found = {
            "system/step_seconds": passed / self._steps,
            "system/processor_percent": 100 * (busy - self._busy) / passed,
        }
        with suppress(OSError):  # no Linux
            pages = int(_STATM.read_text().split()[1])
            found["system/memory_bytes"] = float(pages * os.sysconf("SC_PAGE_SIZE"))
        if self._device.type == "cuda":
            found["system/gpu_memory_bytes"] = float(torch.cuda.memory_allocated(self._device))
            with suppress(RuntimeError, ModuleNotFoundError):  # without NVIDIA's Python bindings
                found["system/gpu_percent"] = float(torch.cuda.utilization(self._device))
        self._steps, self._last, self._busy = 0, now, busy
        return found


def _processor_seconds() -> float:
    """Return the processor time of this process and of its ended children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
