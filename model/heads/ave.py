"""AVE: which event happens in each second."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..backbones.encoder import Encoded
from ..config import ModelConfig
from ..noise import Dropout

HIDDEN = 512


class AveHead(nn.Module):
    """`concat(audio, video)` → `Linear(2D, 512)` → Dropout → `Linear(512, C)`; no activation between.

    A unimodal model has `LayerNorm → Linear(D, C)` instead.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.modalities = config.modalities
        width = config.feature_width
        if len(config.modalities) == 1:
            layers = [nn.LayerNorm(width), nn.Linear(width, config.classes)]
        else:
            layers = [nn.Linear(2 * width, HIDDEN), Dropout(0.5), nn.Linear(HIDDEN, config.classes)]
        self.layers = nn.Sequential(*layers)

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Returns `logits` `[B, T, C]`."""
        pooled = encoded.pooled
        if len(self.modalities) == 1:
            x = pooled[self.modalities[0]]
        else:
            x = torch.cat([pooled["audio"], pooled["video"]], dim=-1)
        return {"logits": self.layers(x)}
