"""Cross-entropies by frame, as AVSBench trains with them.

The releases of AVSBench and AVVP compute binary cross-entropy from probabilities (`torch.nn.BCELoss`): logs
are bounded at −100, so a pixel that is wrong and saturated costs 100 and has no gradient. The form from
logits differs in both. Under autocast these functions compute in float32, since float16 has no 1 − 1e-7.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def bounded_bce(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Return the binary cross-entropy of every entry, logs bounded at −100; float32 or float64, any shape."""
    with torch.autocast(probabilities.device.type, enabled=False):
        values = precise(probabilities)
        return functional.binary_cross_entropy(values, targets.to(values.dtype), reduction="none")


def frame_bce(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the loss of binary masks by frame: logits and masks (0 and 1) `[N, H, W]` → `[N]`.

    Mean over the pixels of `bounded_bce` of the sigmoid (AVSBench `loss.py`). S4 trains on the first frame of
    a clip only, MS3 on all five: pass the annotated frames. The official loss is the mean over the frames.
    """
    return bounded_bce(precise(logits).sigmoid(), masks).flatten(1).mean(1)


def frame_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of semantic masks by frame: logits `[N, C, H, W]`, classes int `[N, H, W]` → `[N]`.

    Mean over the pixels (AVSBench `avss/loss.py`). The official loss is the mean over the annotated frames:
    one of a v1s clip, 5 of a v1m clip, 10 of a v2 clip.
    """
    with torch.autocast(logits.device.type, enabled=False):
        pixels = functional.cross_entropy(precise(logits), labels, reduction="none")
    return pixels.flatten(1).mean(1)


def precise(values: Tensor) -> Tensor:
    """Return float64 unchanged and all other types as float32."""
    return values if values.dtype == torch.float64 else values.float()
