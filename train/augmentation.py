"""Augmentation of training clips: transforms of frames, and mixtures of sounds."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class ClipDraw:
    """The augmentation that was drawn for a clip, the same for all of its frames, in the order of its steps.

    Attributes:
        crop: top, left, height and width, in pixels of the frames.
        flip: whether frames are mirrored.
        operations: timm's names of operations of RandAugment, each with its arguments.
        erased: top and left of rectangles, each with its values `[3, height, width]` float32, normalised.
    """

    crop: tuple[int, int, int, int]
    flip: bool
    operations: tuple[tuple[str, tuple[float, ...]], ...]
    erased: tuple[tuple[int, int, Tensor], ...]

    def map(self, change: Callable[[Tensor], Tensor]) -> ClipDraw:
        """Return the draw with every tensor changed, e.g. moved to another device."""
        return replace(self, erased=tuple((top, left, change(noise)) for top, left, noise in self.erased))


class FrameAugmentation:
    """timm's training transform, one draw for all frames of a clip.

    RandAugment, random resized crop, horizontal flip and random erasing, with the settings of `data`; the
    defaults are the paper's. `draw` gives what `__call__` applies, to be applied elsewhere.
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
        self._pixels = backbone.image_size
        self._mean, self._std = backbone.image_mean, backbone.image_std
        self._erase = RandomErasing(data.erasing, mode="pixel", device="cpu")
        _allow_posterize_to_nothing(self._transform)

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

    def draw(self, height: int, width: int, seed: int) -> ClipDraw:
        """Draw what `__call__` applies to frames `height` × `width` with this seed.

        timm's transforms draw while they work, so each is given a stand-in for the picture.
        """
        crop, flip, operations = (0, 0, height, width), False, _Recorder()
        with _restored_generators():
            _seed_all(seed)
            for step in self._transform.transforms:
                kind = type(step).__name__
                if kind == "RandomResizedCropAndInterpolation":
                    picture = torch.empty(3, height, width, device="meta")
                    crop = step.get_params(picture, step.scale, step.ratio)
                elif kind == "RandomHorizontalFlip":
                    flip = bool(torch.rand(1) < step.p)
                elif kind == "RandAugment":
                    _recording(step)(operations)
            _seed_all(seed ^ 1)
            erased = _ErasedPicture(self._pixels)
            self._erase(erased)
        return ClipDraw(crop, flip, tuple(operations.names), tuple(erased.rectangles))


class _Recorder:
    """In place of a picture, to operations that write down their name and arguments."""

    def __init__(self) -> None:
        self.names: list[tuple[str, tuple[float, ...]]] = []


def _recording(rand_augment: Any) -> Any:
    """Return a copy of timm's RandAugment whose operations are written down in a `_Recorder`."""

    def record(name: str) -> Callable[..., _Recorder]:
        def operation(recorder: _Recorder, *arguments: float, **_: Any) -> _Recorder:
            recorder.names.append((name, arguments))
            return recorder

        return operation

    copied = copy.copy(rand_augment)
    copied.ops = [copy.copy(op) for op in rand_augment.ops]
    for op in copied.ops:
        op.aug_fn = record(op.name)
    return copied


class _ErasedPicture:
    """In place of a picture, to timm's RandomErasing: keeps the rectangles that it is assigned."""

    def __init__(self, pixels: int) -> None:
        self.dtype = torch.float32
        self.rectangles: list[tuple[int, int, Tensor]] = []
        self._size = (3, pixels, pixels)

    def size(self) -> tuple[int, int, int]:
        return self._size

    def __setitem__(self, place: tuple[slice, slice, slice], values: Tensor) -> None:
        self.rectangles.append((place[1].start, place[2].start, values))


def _allow_posterize_to_nothing(transform: Any) -> None:
    """Let `Posterize` draw 0 bits, as timm does at high magnitudes; Pillow refuses them since version 12."""
    for step in transform.transforms:
        for op in getattr(step, "ops", ()):
            if op.name.startswith("Posterize"):
                op.aug_fn = _posterize


def _posterize(picture: Any, bits: int, **options: Any) -> Any:
    from timm.data.auto_augment import posterize

    return picture.point(lambda _: 0) if bits == 0 else posterize(picture, bits, **options)


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
    both = torch.from_numpy(mixed)[:, :frames]
    torch.logaddexp(both, torch.from_numpy(added), out=both)  # a tenth of the time of numpy's
    return mixed
