"""The four maps of a frame at strides 4, 8, 16 and 32, whatever the backbone's own strides are."""

from __future__ import annotations

import math
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from ..records import BackboneConfig

STRIDES = (4, 8, 16, 32)


def reduce_stage(backbone: BackboneConfig, stage: int, channels: int) -> nn.Module:
    """Build the layer that reduces a stage's map `[B·T, H, W, D]` to `[B·T, H', W', channels]`.

    A hierarchical backbone has the sizes already, and the layer is linear.
    """
    width = backbone.stage_widths[stage]
    if backbone.hierarchical:
        return nn.Linear(width, channels)
    # Each side is twice the next one, for frames whose side is no multiple of the coarsest stride too.
    side = -(-backbone.image_size // STRIDES[-1]) * STRIDES[-1] // STRIDES[stage]
    return PyramidLevel(width, channels, patch=backbone.patch, stride=STRIDES[stage], side=side)


class PyramidLevel(nn.Module):
    """One level of a feature pyramid of a plain transformer (ViTDet's simple pyramid, arXiv 2203.16527).

    LayerNorm, a linear layer, and then transposed 2×2 convolutions with GELU between them, or max pooling,
    for each factor of two between the patch and the stride. ViTDet resamples before it reduces; in this
    order the convolutions have the few channels of the head. Where the factor is no power of two, the map is
    interpolated to its size at the end.
    """

    def __init__(self, width: int, channels: int, *, patch: int, stride: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, channels)
        steps = round(math.log2(patch / stride))
        layers: list[nn.Module] = []
        for step in range(max(steps, 0)):
            layers += [nn.GELU()] * (step > 0) + [nn.ConvTranspose2d(channels, channels, 2, stride=2)]
        self.resample = nn.Sequential(*layers)
        self.pool = 2 ** max(-steps, 0)

    def forward(self, x: Tensor) -> Tensor:
        """`[B·T, H, W, D]` → `[B·T, side, side, channels]`."""
        x = self.linear(self.norm(x)).permute(0, 3, 1, 2)
        x = cast(Tensor, self.resample(x))
        if self.pool > 1 and x.shape[-1] >= self.pool:
            x = functional.max_pool2d(x, self.pool)
        if x.shape[-1] != self.side:
            x = functional.interpolate(x, size=(self.side,) * 2, mode="bilinear", align_corners=False)
        return x.permute(0, 2, 3, 1)
