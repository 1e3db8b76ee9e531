"""AVS: which pixels make the sound."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ..backbones.encoder import Encoded
from ..config import ModelConfig
from .tpavi import AUDIO_WIDTH, Tpavi

# Width of each reduced stage over that of the rest of the head: 64, 128, 320 and 512 of 256.
STAGE_RATIOS = (0.25, 0.5, 1.25, 2.0)
DILATIONS = (3, 6, 12, 18)


class AvsHead(nn.Module):
    """The four stages of the frames, each met with the sound by TPAVI, fused from coarse to fine."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.steps, self.pixels = config.frames, config.image_size
        width = config.mask_channels
        reduced = [int(width * ratio) for ratio in STAGE_RATIOS]
        self.reduce = nn.ModuleList(
            nn.Linear(config.width << stage, channels) for stage, channels in enumerate(reduced)
        )
        self.context = nn.ModuleList(DilatedSum(channels, width) for channels in reduced)
        self.audio = nn.Linear(config.feature_width, AUDIO_WIDTH)
        self.tpavi = nn.ModuleList(Tpavi(width) for _ in reduced)
        self.fuse = nn.ModuleList(Fusion(width, skip=stage < 3) for stage in range(4))
        self.to_half = nn.Conv2d(width, width // 2, 3, padding=1)
        self.to_eighth = nn.Conv2d(width // 2, width // 8, 3, padding=1)
        self.to_mask = nn.Conv2d(width // 8, 1, 1)

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """Returns `mask_logits` `[B, T, 1, 4·H, 4·W]` for a first stage of H × W tokens.

        That is the frames' size where patches are of four pixels; with larger ones it is interpolated to it.
        """
        audio = self.audio(encoded.pooled["audio"])
        maps = [self._stage(stage, x, audio) for stage, x in enumerate(encoded.stages)]
        x = self.fuse[3](maps[3])
        for stage in (2, 1, 0):
            x = self.fuse[stage](x, maps[stage])
        x = functional.interpolate(self.to_half(x), scale_factor=2, mode="bilinear", align_corners=False)
        x = self.to_mask(functional.relu(self.to_eighth(x)))
        if x.shape[-1] < self.pixels:
            x = functional.interpolate(x, size=(self.pixels,) * 2, mode="bilinear", align_corners=False)
        return {"mask_logits": x.view(-1, self.steps, *x.shape[1:])}

    def _stage(self, stage: int, x: Tensor, audio: Tensor) -> Tensor:
        """One stage's map `[B·T, H, W, D]` → `[B·T, width, H, W]`, having heard the sound."""
        x = self.context[stage](self.reduce[stage](x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = self.tpavi[stage](x.reshape(-1, self.steps, *x.shape[1:]), audio)
        return x.flatten(0, 1).permute(0, 3, 1, 2)


class DilatedSum(nn.Module):
    """The sum of four 3×3 convolutions that look 3, 6, 12 and 18 pixels far."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation) for dilation in DILATIONS
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[B·T, C, H, W]` → `[B·T, width, H, W]`."""
        first, *others = self.convolutions
        total: Tensor = first(x)
        for convolution in others:
            total = total + convolution(x)
        return total


class ResidualUnit(nn.Module):
    """ReLU, 3×3, ReLU, 3×3; the residual is the rectified input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B·T, width, H, W]` → the same."""
        x = functional.relu(x)
        return x + self.conv2(functional.relu(self.conv1(x)))  # type: ignore[no-any-return]


class Fusion(nn.Module):
    """One step from coarse to fine; the coarsest has no skip connection and hence no unit for it."""

    def __init__(self, channels: int, *, skip: bool) -> None:
        super().__init__()
        self.skip_unit = ResidualUnit(channels) if skip else None
        self.unit = ResidualUnit(channels)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """`[B·T, width, H, W]`, twice → `[B·T, width, 2·H, 2·W]`."""
        if self.skip_unit is not None:
            x = x + self.skip_unit(skip)
        return functional.interpolate(self.unit(x), scale_factor=2, mode="bilinear", align_corners=True)
