"""AVC: the class, or the classes, of a whole clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..backbones.encoder import Encoded
from ..checks import check_choice, check_integer
from ..config import ModelConfig
from ..records import Head, HeadConfig
from .base import TaskHead

LABELS_PER_CLIP = ("one", "several")
_MOST_CLASSES = 10_000_000


@dataclass(frozen=True, kw_only=True)
class AvcConfig(HeadConfig):
    """The options of the AVC head.

    Attributes:
        classes: number of classes.
        labels_per_clip: `one`, the logits are those of a softmax; `several`, each is that of a sigmoid.
    """

    task = "avc"
    frames = 10

    classes: int = 309
    labels_per_clip: str = "one"

    def __post_init__(self) -> None:
        check_integer("classes", self.classes, most=_MOST_CLASSES)
        check_choice("labels_per_clip", self.labels_per_clip, LABELS_PER_CLIP)

    def outputs(self) -> dict[str, str]:
        """Return the meaning of `logits`, by the number of labels of a clip."""
        shares = "softmax over the last dimension" if self.labels_per_clip == "one" else "sigmoid"
        return {"logits": f"class scores of the clip; {shares}"}


class AvcHead(TaskHead):
    """The mean over time of each modality, concatenated → LayerNorm → Linear."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        head: Any = config.head
        self.modalities = config.modalities
        width = len(config.modalities) * config.feature_width
        self.layers = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, head.classes))

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Return `logits` `[B, C]`."""
        pooled = [encoded.pooled[modality].mean(1) for modality in self.modalities]
        return {"logits": self.layers(torch.cat(pooled, dim=-1))}


HEAD = Head(config=AvcConfig, module=AvcHead)
