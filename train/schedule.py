"""The learning rate of every step."""

from __future__ import annotations

import math


def learning_rate(step: int, *, peak: float, minimum: float, warmup_steps: int, total_steps: int) -> float:
    """The rate at `step` (0-based): linear from 0 to `peak` over the warm-up, both ends included, then
    cosine, reaching `minimum` at the last step (paper, section 7.2 and Table 9).

    >>> [learning_rate(s, peak=1.0, minimum=0.0, warmup_steps=3, total_steps=5) for s in range(5)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if step < warmup_steps:
        return peak * step / (warmup_steps - 1) if warmup_steps > 1 else peak
    progress = (step - warmup_steps + 1) / max(total_steps - warmup_steps, 1)
    return minimum + 0.5 * (peak - minimum) * (1 + math.cos(math.pi * progress))
