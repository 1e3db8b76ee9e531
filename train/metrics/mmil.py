"""Attentive multimodal multiple-instance pooling (MMIL) and its loss, for weak labels of clips (LLP).

The release (YapengTian/AVVP-ECCV20, `net_audiovisual.py`, `main_avvp.py`) weighs the probabilities of seconds
and modalities with two softmaxes that do not know of each other: over the seconds of a modality, and over the
modalities of a second. The 20 products of a clip and class sum to a value in (0, 2), so the pooled
"probability" of a clip can exceed 1. The loss clamps it; the decision does not.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .cross_entropy import bounded_bce, precise

_CLAMP = 1e-7


@dataclass(frozen=True)
class Pooled:
    """Probabilities of a clip's classes, `[B, C]` each.

    Attributes:
        audio, visual: means over the seconds of one modality, weighted; in [0, 1] up to rounding.
        clip: over seconds and modalities; in [0, 2), or in [0, 1] when normalised.
    """

    audio: Tensor
    visual: Tensor
    clip: Tensor

    def share_above_1(self) -> float:
        """Return the share of the entries of `clip` that exceed 1."""
        return float((self.clip > 1).float().mean())


def pool(
    probabilities: Tensor, time_logits: Tensor, modality_logits: Tensor, *, normalised: bool = False
) -> Pooled:
    """Pool the probabilities of seconds (T) and modalities (0 audio, 1 visual), `[B, T, 2, C]` each.

    Args:
        probabilities: of every second, modality and class, after the sigmoid.
        time_logits: softmax over T gives the weights of seconds.
        modality_logits: softmax over the modalities gives their weights.
        normalised: divide the weights of `clip` by their sum. The release does not.
    """
    over_time, over_modality = time_logits.softmax(1), modality_logits.softmax(2)
    # The order of products and sums is the release's: near 1 the losses depend on the last bit.
    weighted = over_time * probabilities
    clip = (over_modality * weighted).sum(2).sum(1)
    if normalised:
        clip = clip / (over_modality * over_time).sum((1, 2))
    return Pooled(weighted[:, :, 0].sum(1), weighted[:, :, 1].sum(1), clip)


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
