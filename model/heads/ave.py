"""AVE: the event of each second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..backbones.encoder import Encoded
from ..checks import check_integer
from ..config import ModelConfig
from ..noise import Dropout
from ..records import Head, HeadConfig
from .base import TaskHead

HIDDEN = 512
_MOST_CLASSES = 10_000_000


@dataclass(frozen=True, kw_only=True)
class AveConfig(HeadConfig):
    """The options of the AVE head: the number of classes, the background among them."""

    task = "ave"
    frames = 10

    classes: int = 29

    def __post_init__(self) -> None:
        check_integer("classes", self.classes, most=_MOST_CLASSES)

    def outputs(self) -> dict[str, str]:
        """Return the meaning of `logits`."""
        return {"logits": "class scores of every second; softmax over the last dimension"}


class AveHead(TaskHead):
    """`concat(audio, video)` → `Linear(2D, 512)` → Dropout → `Linear(512, C)`; no activation between.

    A unimodal model has `LayerNorm → Linear(D, C)` instead.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        head: Any = config.head
        self.modalities = config.modalities
        width = config.feature_width
        if len(config.modalities) == 1:
            layers = [nn.LayerNorm(width), nn.Linear(width, head.classes)]
        else:
            layers = [nn.Linear(2 * width, HIDDEN), Dropout(0.5), nn.Linear(HIDDEN, head.classes)]
        self.layers = nn.Sequential(*layers)

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Return `logits` `[B, T, C]`."""
        pooled = encoded.pooled
        if len(self.modalities) == 1:
            x = pooled[self.modalities[0]]
        else:
            x = torch.cat([pooled["audio"], pooled["video"]], dim=-1)
        return {"logits": self.layers(x)}


def reference_names(config: ModelConfig) -> dict[str, str]:
    """Return the release's names of the head → ours."""
    layers = (0, 1) if len(config.modalities) == 1 else (0, 2)
    return {f"mlp_head.{i}.{leaf}": f"head.layers.{i}.{leaf}" for i in layers for leaf in ("weight", "bias")}


def read_reference(entries: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """Read the options off a release checkpoint; None where it has no such head."""
    if "mlp_head.0.weight" not in entries:
        return None
    last = "mlp_head.1.weight" if entries["mlp_head.0.weight"].ndim == 1 else "mlp_head.2.weight"
    return {"classes": len(entries[last])}


HEAD = Head(config=AveConfig, module=AveHead, reference_names=reference_names, read_reference=read_reference)
