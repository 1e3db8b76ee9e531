"""AVS: the mask of the pixels that make the sound, in each frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from ...errors import InputError
from ..backbones.encoder import Encoded
from ..batch_norm import BatchNorm
from ..checks import check_integer
from ..config import ModelConfig
from ..records import FRAME_MASK, Head, HeadConfig
from .base import TaskHead, layer_names
from .pyramid import reduce_stage

AUDIO_WIDTH = 128
# Width of each reduced stage over that of the rest of the head: 64, 128, 320 and 512 of 256.
STAGE_RATIOS = (0.25, 0.5, 1.25, 2.0)
DILATIONS = (3, 6, 12, 18)
_MOST_CHANNELS = 65_536
_TPAVI_NAMES = {
    "align_channel": "align_audio",
    "theta": "theta",
    "phi": "phi",
    "g": "g",
    "W_z.0": "out",
    "W_z.1": "batch_norm",
    "norm_layer": "norm",
}


@dataclass(frozen=True, kw_only=True)
class AvsConfig(HeadConfig):
    """The options of the AVS head: its width, a multiple of 8."""

    task = "avs"
    frames = 5
    needs = frozenset({"pooled", "stages"})
    pooled_of = frozenset({"audio"})
    needs_both = True

    mask_channels: int = 256

    def __post_init__(self) -> None:
        check_integer("mask_channels", self.mask_channels, most=_MOST_CHANNELS)
        if self.mask_channels % 8:
            raise InputError(f"mask_channels: {self.mask_channels}, expected a multiple of 8")

    def outputs(self) -> dict[str, str]:
        """Return the meaning of `mask_logits`."""
        return {"mask_logits": "scores of pixels, above 0 where a pixel makes the sound; sigmoid"}


class AvsHead(TaskHead):
    """The four stages of the frames, each combined with the sound by TPAVI, fused from coarse to fine."""

    def __init__(self, config: ModelConfig, *, channels: int = 1) -> None:
        """`channels` is the number of masks of a frame."""
        super().__init__()
        head: Any = config.head
        self.pixels = config.backbone.image_size
        self.frame_size = not config.backbone.hierarchical
        width = head.mask_channels
        reduced = [int(width * ratio) for ratio in STAGE_RATIOS]
        self.reduce = nn.ModuleList(
            reduce_stage(config.backbone, stage, channels) for stage, channels in enumerate(reduced)
        )
        self.context = nn.ModuleList(DilatedSum(channels, width) for channels in reduced)
        self.audio = nn.Linear(config.feature_width, AUDIO_WIDTH)
        self.tpavi = nn.ModuleList(Tpavi(width) for _ in reduced)
        self.fuse = nn.ModuleList(Fusion(width, skip=stage < 3) for stage in range(4))
        self.to_half = nn.Conv2d(width, width // 2, 3, padding=1)
        self.to_eighth = nn.Conv2d(width // 2, width // 8, 3, padding=1)
        self.to_mask = nn.Conv2d(width // 8, channels, 1)

    def run(
        self,
        encoded: Encoded,
        inputs: Mapping[str, Tensor],
        _encode_frozen: Callable[[Tensor], Tensor],
        *,
        explain: bool = False,  # noqa: ARG002 - of heads that explain
    ) -> dict[str, Tensor]:
        return self(encoded, inputs.get(FRAME_MASK))  # type: ignore[no-any-return]

    def forward(self, encoded: Encoded, frame_mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return `mask_logits` `[B, T, channels, 4·H, 4·W]` for a first stage of H × W tokens.

        That is the frames' size for patches of four pixels; for larger ones, and for plain backbones, the
        masks are interpolated to it. Frames that are False in `frame_mask` `[B, T]` change nothing in the
        outputs of the others.

        In training with `returns_features`, also, for each stage K from 0, `visual_K` `[B·T, width, H, W]`,
        its map after TPAVI, and `audio_K` `[B·T, width]`, the sound that TPAVI combined it with.
        """
        audio = self.audio(encoded.pooled["audio"])
        maps = [self._stage(stage, x, audio, frame_mask) for stage, x in enumerate(encoded.stages)]
        features = self._features(maps, audio) if self.training and self.returns_features else {}
        x = self.fuse[3](maps[3])
        for stage in (2, 1, 0):
            x = self.fuse[stage](x, maps[stage])
        x = functional.interpolate(self.to_half(x), scale_factor=2, mode="bilinear", align_corners=False)
        x = self.to_mask(functional.relu(self.to_eighth(x)))
        if x.shape[-1] < self.pixels or (self.frame_size and x.shape[-1] != self.pixels):
            x = functional.interpolate(x, size=(self.pixels,) * 2, mode="bilinear", align_corners=False)
        return {"mask_logits": x.view(-1, audio.shape[1], *x.shape[1:]), **features}

    def _features(self, maps: list[Tensor], audio: Tensor) -> dict[str, Tensor]:
        blocks: list[Any] = list(self.tpavi)
        sounds = [block.align_audio(audio).flatten(0, 1) for block in blocks]
        pairs = enumerate(zip(maps, sounds, strict=True))
        return {
            name: tensor
            for stage, (seen, heard) in pairs
            for name, tensor in ((f"visual_{stage}", seen), (f"audio_{stage}", heard))
        }

    def _stage(self, stage: int, x: Tensor, audio: Tensor, frame_mask: Tensor | None) -> Tensor:
        """One stage's map `[B·T, H, W, D]` → `[B·T, width, H, W]`, combined with the sound."""
        x = self.context[stage](self.reduce[stage](x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = self.tpavi[stage](x.reshape(*audio.shape[:2], *x.shape[1:]), audio, frame_mask)
        return x.flatten(0, 1).permute(0, 3, 1, 2)


class Tpavi(nn.Module):
    """TPAVI: every pixel of every time step reads the sound of all time steps (AVSBench, arXiv 2207.05042).

    `LayerNorm(BatchNorm(Conv(y)) + x)` with `y = θ φᵀ g / (T·H·W)` over all positions of a clip.

    θ and g come from the picture, φ from the sound, which is the same at every position of a time step. There
    is no softmax, so the product is taken from the right, and the T·H·W × T·H·W matrix `θ φᵀ` never exists:
    `φᵀ g / (T·H·W) = Σ_t φ_t ⊗ g(mean over space of x_t) / T`, because g is affine too.

    Of a shorter clip, padding frames are left out of the sum and of T, and of the statistics of the batch
    normalisation.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = inner = channels // 2
        self.align_audio = nn.Linear(AUDIO_WIDTH, channels)
        self.theta = nn.Linear(channels, inner)
        self.phi = nn.Linear(channels, inner)
        self.g = nn.Linear(channels, inner)
        self.out = nn.Linear(inner, channels)
        self.batch_norm = BatchNorm(channels)
        self.norm = nn.LayerNorm(channels)
        nn.init.zeros_(self.batch_norm.weight)
        nn.init.zeros_(self.batch_norm.bias)

    def forward(self, x: Tensor, audio: Tensor, frame_mask: Tensor | None = None) -> Tensor:
        """`[B, T, H, W, C]`, `[B, T, 128]` and, with padding frames, bool `[B, T]` → `[B, T, H, W, C]`."""
        B, T = x.shape[:2]
        phi = self.phi(self.align_audio(audio))
        g = self.g(x.mean((2, 3)))
        if frame_mask is None:
            kernel = phi.transpose(1, 2) @ g / T  # [B, C/2, C/2]
        else:
            counted = frame_mask[..., None].to(phi.dtype)
            kernel = (phi * counted).transpose(1, 2) @ g / counted.sum(1, keepdim=True)
        y = self.theta(x).view(B, -1, self.inner) @ kernel
        y = self.out(y).flatten(0, 1)
        z = self.batch_norm(y, None if frame_mask is None else frame_mask.flatten()).view(x.shape)
        normed: Tensor = self.norm(z + x)
        return normed


class DilatedSum(nn.Module):
    """The sum of four 3×3 convolutions with dilations 3, 6, 12 and 18."""

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


def reference_names(_config: ModelConfig) -> dict[str, str]:
    """Return the release's names of the head → ours."""
    pairs = {
        "avstask_audio_linear": "audio",
        "avstask_output_conv.0": "to_half",
        "avstask_output_conv.2": "to_eighth",
        "avstask_output_conv.4": "to_mask",
    }
    buffers = {}
    for stage in range(4):
        n = stage + 1
        pairs[f"avstask_x{n}_linear"] = f"reduce.{stage}"
        for i in range(4):
            pairs[f"avstask_conv{n}.conv2d_list.{i}"] = f"context.{stage}.convolutions.{i}"
        for theirs, ours in _TPAVI_NAMES.items():
            pairs[f"avstask_tpavi_b{n}.{theirs}"] = f"tpavi.{stage}.{ours}"
        for conv in ("conv1", "conv2"):
            pairs[f"avstask_path{n}.resConfUnit2.{conv}"] = f"fuse.{stage}.unit.{conv}"
            if stage < 3:
                pairs[f"avstask_path{n}.resConfUnit1.{conv}"] = f"fuse.{stage}.skip_unit.{conv}"
        for leaf in ("running_mean", "running_var"):
            buffers[f"avstask_tpavi_b{n}.W_z.1.{leaf}"] = f"head.tpavi.{stage}.batch_norm.{leaf}"
    return {**layer_names(pairs), **buffers}


def read_reference(entries: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """Read the options off a release checkpoint; None where it has no such head."""
    return {} if any(name.startswith("avstask_") for name in entries) else None


HEAD = Head(config=AvsConfig, module=AvsHead, reference_names=reference_names, read_reference=read_reference)
