"""The optimiser and the learning rate of every step (paper, section 7.2 and Table 9)."""

from __future__ import annotations

import math

import torch

from ..model import STGCMA
from .sections import OptimConfig


def make_optimizer(model: STGCMA, optim: OptimConfig) -> torch.optim.Adam:
    """Return Adam with the model's two parameter groups, each with the peak of its learning rate."""
    # On a GPU one kernel updates all weights; on a CPU it would round otherwise than the loop over them.
    fused = all(parameter.is_cuda for parameter in model.parameters())
    peaks = {"adapter": optim.adapter_lr, "head": optim.task_lr}
    groups = [
        {"params": list(parameters.values()), "name": name, "peak_lr": peaks[name]}
        for name, parameters in model.parameter_groups().items()
    ]
    return torch.optim.Adam(
        groups, lr=0.0, betas=optim.betas, weight_decay=optim.weight_decay, fused=fused or None
    )


def learning_rate(step: int, *, peak: float, minimum: float, warmup_steps: int, total_steps: int) -> float:
    """Return the rate at `step` (0-based): linear from 0 to `peak` over the warm-up, both ends included, then
    cosine, reaching `minimum` at the last step.

    >>> [learning_rate(s, peak=1.0, minimum=0.0, warmup_steps=3, total_steps=5) for s in range(5)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if step < warmup_steps:
        return peak * step / (warmup_steps - 1) if warmup_steps > 1 else peak
    progress = (step - warmup_steps + 1) / max(total_steps - warmup_steps, 1)
    return minimum + 0.5 * (peak - minimum) * (1 + math.cos(math.pi * progress))


def set_learning_rates(
    optimizer: torch.optim.Optimizer, step: int, *, minimum: float, warmup_steps: int, total_steps: int
) -> None:
    """Set the learning rate of every parameter group for `step`, as `learning_rate` says."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(
            step,
            peak=group["peak_lr"],
            minimum=minimum,
            warmup_steps=warmup_steps,
            total_steps=total_steps,
        )


def learning_rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """Return the current learning rate of every parameter group: `adapter_lr` and `head_lr`."""
    return {f"{group['name']}_lr": group["lr"] for group in optimizer.param_groups}
