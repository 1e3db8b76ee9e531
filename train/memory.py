"""Turn out-of-memory errors of torch into one line that suggests settings that fit."""

from __future__ import annotations

import math
import platform
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from ..errors import StgcmaError
from ..model import ModelConfig, describe
from .config import RunConfig

# The estimate leaves out the CUDA context, workspaces and fragmentation.
_USABLE_SHARE = 0.85
# CUDA's libraries have no exception class for a workspace that cannot be allocated, nor has torch on a CPU.
_SIGNS = (
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "Unable to find a valid cuDNN algorithm to run convolution",
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
)


# Of Linux.
_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def is_out_of_memory(error: BaseException) -> bool:
    """Return True when `error` is about too little memory, of a GPU or of the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


@contextmanager
def memory_explained(doing: str, device: torch.device, advise: Callable[[], str]) -> Iterator[None]:
    """Raise StgcmaError in place of an out-of-memory error, with the work, the device and advice.

    Args:
        doing: the work, such as "scoring 2 clips at a time".
        device: on which it runs.
        advise: returns the advice; called after an error only.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StgcmaError(f"out of memory {doing} on {_named(device)} ({first}); {advise()}") from error


def reset_peak(device: torch.device) -> None:
    """Let `peak_bytes` begin anew, where the system can: several trainings may run in one process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):  # no Linux, or a container that does not allow it
        _RESET.write_text("5")


def peak_bytes(device: torch.device) -> int:
    """Return the peak memory since `reset_peak`: of the GPU when there is one, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "VmHWM":
                return int(value.split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def _named(device: torch.device) -> str:
    if device.type != "cuda":
        return "the CPU"
    return f"a GPU of {total_bytes(device) / 2**30:.0f} GiB"


def total_bytes(device: torch.device) -> int:
    """Return the memory of a GPU, in bytes."""
    return int(torch.cuda.get_device_properties(device).total_memory)


def clips_at_a_time(config: RunConfig, processes: int) -> int:
    """Return the number of clips in a micro-batch of one process."""
    return math.ceil(config.optim.batch_size / processes / config.train.accumulate)


def training_advice(config: RunConfig, model: ModelConfig, device: torch.device, processes: int) -> str:
    """Return settings that should fit the device."""
    if device.type != "cuda":
        return "take a smaller optim.batch_size, a smaller backbone or a machine with more memory"
    return advice(config, model, total_bytes(device), processes=processes)


def scoring_advice() -> str:
    """Return advice for running a trained model with less memory."""
    return (
        "other programs may hold the rest of it; free it, take a larger GPU, or none (CUDA_VISIBLE_DEVICES=)"
    )


def advice(config: RunConfig, model: ModelConfig, total_bytes: int, *, processes: int = 1) -> str:
    """Return the smallest change of settings that should fit `total_bytes`, by `model.describe`."""
    clips = math.ceil(config.optim.batch_size / processes)
    for checkpointing in (False, True):
        summary = describe(model.replace(checkpointing=checkpointing))
        weights = 4 * (summary.total + 3 * summary.trainable)
        each = max(summary.training_bytes - weights, 1)
        fitting = min(int((_USABLE_SHARE * total_bytes - weights) // each), clips)
        if fitting < 1:
            continue
        settings = []
        if checkpointing:
            settings.append("--set train.checkpointing=true")
        if fitting < clips:
            settings.append(f"--set train.accumulate={math.ceil(clips / fitting)}")
        if config.train.precision in ("auto", "fp32"):
            settings.append("--set train.precision=bf16")
        if settings:
            return f"this should fit: {' '.join(settings)}"
    return "no setting of this preset fits; take a smaller backbone or a larger GPU"
