"""AVVP: audible and visible events of every second, learned from labels of whole clips (LLP)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..backbones.encoder import Encoded
from ..checks import check_flag, check_integer
from ..config import ModelConfig
from ..noise import Dropout
from ..records import Head, HeadConfig
from .base import TaskHead

HIDDEN = 512
_MOST_CLASSES = 100_000
_DROPOUT = 0.1


@dataclass(frozen=True, kw_only=True)
class AvvpConfig(HeadConfig):
    """The options of the AVVP head.

    Attributes:
        classes: number of classes; there is no background among them.
        normalised_pooling: divide the pooling weights of a clip by their sum, so that a clip's probability is
            at most 1. The release of AVVP does not.
    """

    task = "avvp"
    frames = 10
    needs_both: ClassVar[bool] = True

    classes: int = 25
    normalised_pooling: bool = False

    def __post_init__(self) -> None:
        check_integer("classes", self.classes, most=_MOST_CLASSES)
        check_flag("normalised_pooling", self.normalised_pooling)

    def outputs(self) -> dict[str, str]:
        """Return the meaning of the logits and of the pooled probabilities."""
        return {
            "logits": "class scores of every second, audible (0) and visible (1); sigmoid",
            "audio": "probabilities that the classes are audible in the clip",
            "visual": "probabilities that the classes are visible in the clip",
            "clip": "probabilities that the classes are audible or visible in the clip; they may exceed 1",
        }


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

    Attentive multimodal multiple-instance pooling (MMIL; YapengTian/AVVP-ECCV20, `net_audiovisual.py`). The
    two softmaxes are independent, so the 20 weights of a clip and class sum to a value in (0, 2), and the
    pooled "probability" of a clip can exceed 1.

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


class AvvpHead(TaskHead):
    """`Linear(D, 512)` for each modality, Dropout, and three `Linear(512, C)` that both modalities share.

    The three layers give the logits of classes and those of the two softmaxes of `pool`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        head: Any = config.head
        self.normalised = head.normalised_pooling
        self.audio = nn.Linear(config.feature_width, HIDDEN)
        self.video = nn.Linear(config.feature_width, HIDDEN)
        self.dropout = Dropout(_DROPOUT)
        self.classes = nn.Linear(HIDDEN, head.classes)
        self.time = nn.Linear(HIDDEN, head.classes)
        self.modality = nn.Linear(HIDDEN, head.classes)

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Return `logits` `[B, T, 2, C]` (0 audible, 1 visible) and the pooled probabilities `[B, C]`.

        These are `audio`, `visual` and `clip`, as in `Pooled`, in float32 whatever the activations are.
        """
        pooled = encoded.pooled
        features = torch.stack([self.audio(pooled["audio"]), self.video(pooled["video"])], 2)
        features = self.dropout(features)
        logits, time, modality = self.classes(features), self.time(features), self.modality(features)
        # Autocast leaves products of float32 as they are.
        logits, time, modality = (
            x if x.dtype == torch.float64 else x.float() for x in (logits, time, modality)
        )
        found = pool(logits.sigmoid(), time, modality, normalised=self.normalised)
        return {"logits": logits, "audio": found.audio, "visual": found.visual, "clip": found.clip}


HEAD = Head(config=AvvpConfig, module=AvvpHead)
