"""The loss of multimodal multiple-instance learning (MMIL), for weak labels of clips (LLP).

The pooled "probability" of a clip can exceed 1 (`model/heads/avvp.py`). In the release
(YapengTian/AVVP-ECCV20, `main_avvp.py`) the loss clamps it; the decision does not.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...model.heads.avvp import Pooled, pool
from .cross_entropy import bounded_bce, precise

__all__ = ["MmilLosses", "Pooled", "mmil_losses", "pool"]

_CLAMP = 1e-7


@dataclass(frozen=True)
class MmilLosses:
    """Losses by clip, `[B]` each: means over the classes. The official loss is the mean of `total`."""

    audio: Tensor
    visual: Tensor
    clip: Tensor

    @property
    def total(self) -> Tensor:
        """The sum of the three, `[B]`."""
        return self.audio + self.visual + self.clip


def mmil_losses(pooled: Pooled, tags: Tensor, *, visual_smoothing: float = 0.1) -> MmilLosses:
    """Return the losses against the tags of clips, 0 and 1, `[B, C]`.

    Probabilities are clamped to [1e-7, 1 − 1e-7]; in float32 the upper bound is 0.99999988. The gradient is 0
    where they are clamped.

    Args:
        pooled: the pooled probabilities.
        tags: classes that occur in the clip, audible or visible.
        visual_smoothing: the visual target is `(1 − s)·tags + s/2`: 0.9·tags + 0.05 in the release, since a
            tag is often only audible; 0 for no smoothing.
    """
    target = precise(tags)
    smoothed = (1 - visual_smoothing) * target + visual_smoothing / 2
    pairs = ((pooled.audio, target), (pooled.visual, smoothed), (pooled.clip, target))
    return MmilLosses(
        *(bounded_bce(precise(value).clamp(_CLAMP, 1 - _CLAMP), wanted).mean(1) for value, wanted in pairs)
    )
