"""Augmentation of training clips: transforms of frames, and mixtures of sounds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..model.inputs import normalise_frames
from ..model.records import BackboneConfig
from .sections import DataConfig


@contextmanager
def _restored_generators() -> Iterator[None]:
    """Restore the states of Python's, NumPy's and torch's global generators afterwards.

    timm's transforms draw from all three.
    """
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


class FrameAugmentation:
    """timm's training transform, one draw for all frames of a clip.

    RandAugment, random resized crop, horizontal flip and random erasing, with the settings of `data`; the
    defaults are the paper's.
    """

    def __init__(self, data: DataConfig, backbone: BackboneConfig) -> None:
        from timm.data import create_transform
        from timm.data.random_erasing import RandomErasing

        # With `use_prefetcher` it returns uint8 tensors.
        self._transform = create_transform(
            backbone.image_size,
            is_training=True,
            scale=data.crop_scale,
            ratio=data.crop_aspect,
            hflip=data.flip,
            auto_augment=data.rand_augment,
            interpolation="bicubic",
            use_prefetcher=True,
        )
        self._mean, self._std = backbone.image_mean, backbone.image_std
        self._erase = RandomErasing(data.erasing, mode="pixel", device="cpu")

    def __call__(self, frames: list[Any], seed: int) -> Tensor:
        """Pillow frames → `[T, 3, pixels, pixels]` float32, normalised with the backbone's mean and std."""
        with _restored_generators():
            video = []
            for frame in frames:
                _seed_all(seed)
                video.append(normalise_frames(self._transform(frame), self._mean, self._std))
                _seed_all(seed ^ 1)  # another seed: erasing must be independent of the crop
                self._erase(video[-1])
        return torch.stack(video)


def _seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)


def mix_powers(
    features: npt.NDArray[np.float32], other: npt.NDArray[np.float32], share: float
) -> npt.NDArray[np.float32]:
    """Return `log(λ²·e^a + (1−λ)²·e^b)`, the expected log energies of `λ·x + (1−λ)·y` for independent x, y.

    Args:
        features: log-mel energies `[K, frames, bins]`, not normalised.
        other: those of the other sound; beyond its last frame it is silent.
        share: λ, between 0 and 1.
    """
    mixed: npt.NDArray[np.float32] = features + np.float32(2 * np.log(share))
    frames = min(features.shape[1], other.shape[1])
    added = other[:, :frames] + np.float32(2 * np.log1p(-share))
    mixed[:, :frames] = np.logaddexp(mixed[:, :frames], added)
    return mixed
