"""Augmentation of a batch's frames on the device that trains."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..model.inputs import normalise_frames
from ..model.records import BackboneConfig
from .augmentation import ClipDraw
from .frame_operations import OPERATIONS, Fill, crop_and_resize


class DeviceAugmentation:
    """Apply what the loader drew, `data.augment_on=device`.

    Equal to `FrameAugmentation` but for the roundings of the bicubic filters: see docs/performance.md.
    """

    def __init__(self, backbone: BackboneConfig) -> None:
        from timm.data import IMAGENET_DEFAULT_MEAN

        self._pixels = backbone.image_size
        self._mean, self._std = backbone.image_mean, backbone.image_std
        # Of pixels from outside the frame; timm's transform takes ImageNet's mean when it is given none.
        red, green, blue = (min(255, round(255 * mean)) for mean in IMAGENET_DEFAULT_MEAN)
        self._fill: Fill = (red, green, blue)

    def __call__(self, video: Tensor, draws: Sequence[ClipDraw]) -> Tensor:
        """`[B, T, 3, H, W]` uint8 → `[B, T, 3, pixels, pixels]` float32, normalised.

        `draws` are those of the B clips, with their tensors on the device of `video`.
        """
        return torch.stack([self._clip(frames, draw) for frames, draw in zip(video, draws, strict=True)])

    def _clip(self, frames: Tensor, draw: ClipDraw) -> Tensor:
        frames = crop_and_resize(frames.contiguous(), draw.crop, self._pixels)
        if draw.flip:
            frames = frames.flip(-1)
        for name, arguments in draw.operations:
            frames = OPERATIONS[name](frames, self._fill, *arguments)
        normalised = normalise_frames(frames, self._mean, self._std)
        for top, left, noise in draw.erased:
            height, width = noise.shape[-2:]
            normalised[..., top : top + height, left : left + width] = noise
        return normalised
