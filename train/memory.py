"""What to say when a GPU's memory does not suffice."""

from __future__ import annotations

import math

import torch

from ..errors import StgcmaError
from ..model import ModelConfig, describe
from .config import RunConfig
from .distributed import World

# What the estimate leaves out: the CUDA context, workspaces, fragmentation.
_USABLE_SHARE = 0.85


def out_of_memory(error: Exception, config: RunConfig, model: ModelConfig, here: World) -> StgcmaError:
    """The error to raise in place of torch's: one line that says which settings would fit."""
    total = torch.cuda.get_device_properties(here.device).total_memory
    own = math.ceil(config.optim.batch_size / here.size / config.train.accumulate)
    first = str(error).splitlines()[0]
    return StgcmaError(
        f"out of memory with {own} clips at a time on a GPU of {total / 2**30:.0f} GiB ({first}); "
        f"{advice(config, model, total, processes=here.size)}"
    )


def advice(config: RunConfig, model: ModelConfig, total_bytes: int, *, processes: int = 1) -> str:
    """The gentlest settings that should fit `total_bytes`, by the model's own account of its memory."""
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
        if config.train.precision == "fp32":
            settings.append("--set train.precision=bf16")
        if settings:
            return f"this should fit: {' '.join(settings)}"
    return "no setting of this preset fits; take a smaller backbone or a larger GPU"
