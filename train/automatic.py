"""Settings that depend on the machine where they are not given: loader processes and the number format."""

from __future__ import annotations

import os
from typing import Literal

import torch

from .config import RunConfig, replaced
from .run_folder import RunFolder

_MOST_WORKERS = 16  # beyond that the disk or the GPU decides, and each takes memory
_LONG_WAIT = 0.1


def resolve(config: RunConfig, device: torch.device, *, recorded: RunFolder | None = None) -> RunConfig:
    """Return `config` with a value for each setting that is left to the machine.

    Args:
        config: as given.
        device: to compute on.
        recorded: folder of the run that is resumed, whose values are taken if it holds one.
    """
    before = recorded.read_config() if recorded is not None and recorded.holds_run() else None
    workers, precision = config.data.workers, config.train.precision
    if workers is None:
        workers = before.data.workers if before else loader_processes(device)
    if precision == "auto":
        precision = before.train.precision if before else _precision(device)
    return replaced(replaced(config, "data", workers=workers), "train", precision=precision)


def loader_processes(device: torch.device) -> int:
    """Return the number of loader processes: 1 on a CPU, which computes as well; else one a core."""
    if device.type == "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)) - 1, 1), _MOST_WORKERS)


def _precision(device: torch.device) -> Literal["fp32", "bf16"]:
    if device.type != "cuda" or not torch.cuda.is_bf16_supported(including_emulation=False):
        return "fp32"
    return "bf16"


def waiting_note(waited_seconds: float, seconds: float, workers: int) -> str | None:
    """Return advice where a GPU waited for clips for a large part of an epoch; None where it did not."""
    share = waited_seconds / max(seconds, 1e-9)
    if share < _LONG_WAIT:
        return None
    return (
        f"the GPU waited for clips for {100 * share:.0f} % of the first epoch, with {workers} loader "
        "processes; set data.workers to more, or keep the shards on a faster disk"
    )
