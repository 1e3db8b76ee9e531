"""Clips from the shards as tensors, in an order that depends on seed and epoch alone."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..errors import InputError
from ..shards.manifest import read_dataset, read_manifest
from ..shards.reader import ClipReader, clip_places
from .config import DataConfig

# ImageNet statistics, which the backbones were trained with.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)

# Shuffling within this many shards at a time keeps reads of a clip's neighbours in few files.
SHARDS_PER_BLOCK = 16


@dataclass(frozen=True)
class Normalisation:
    """Of an fbank: `(x − mean) / (2·std)`."""

    mean: float
    std: float


@dataclass(frozen=True)
class Batch:
    """Clips of one step. Letters as in `model`: B clips, T time steps.

    Attributes:
        keys: the clips' keys.
        video: `[B, T, 3, 224, 224]` float32, ImageNet-normalised.
        audio: `[B, T, F, M]` float32, normalised log-mel.
        labels: `[B, T]` int64 class of every second.
    """

    keys: tuple[str, ...]
    video: Tensor
    audio: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on `device`."""
        return Batch(self.keys, self.video.to(device), self.audio.to(device), self.labels.to(device))


class ClipDataset(Dataset[dict[str, Any]]):
    """The clips of one split of a shard directory, by index in manifest order.

    `audio_shape` is the model's (time frames, mel bins); the bins say which fbank is read.
    Raises InputError when the directory lacks the split or that fbank.
    """

    def __init__(self, folder: Path, split: str, data: DataConfig, *, audio_shape: tuple[int, int]) -> None:
        self.folder = folder
        self.split = split
        self.info = read_dataset(folder)
        self.places = clip_places(read_manifest(folder, split=split))
        if not self.places:
            raise InputError(f"{folder} has no clips in split {split!r}")
        self.audio_frames, mel_bins = audio_shape
        self.fbank = f"fbank_{mel_bins}"
        self.normalisation = self._normalisation(data)
        self._reader = ClipReader(folder)

    def _normalisation(self, data: DataConfig) -> Normalisation:
        measured = self.info.audio.get(self.fbank)
        if measured is None:
            made = ", ".join(sorted(self.info.audio)) or "none"
            raise InputError(
                f"{self.folder} has no {self.fbank} of training clips (it has {made}); "
                "preprocess with the --features that this preset's backbone needs"
            )
        mean = measured.mean if data.fbank_mean is None else data.fbank_mean
        std = measured.std if data.fbank_std is None else data.fbank_std
        return Normalisation(mean, std)

    def close(self) -> None:
        """Closes the shard that this process has open."""
        self._reader.close()

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> dict[str, Any]:
        place = self.places[index]
        members = self._reader.read(place)
        return {
            "key": place.key,
            "video": decode_frames(members),
            "audio": decode_fbank(members[f"{self.fbank}.npy"], self.audio_frames, self.normalisation),
            "labels": torch.from_numpy(np.load(io.BytesIO(members["label.npy"])).astype(np.int64)),
        }


def decode_frames(members: dict[str, bytes]) -> Tensor:
    """The frames among a clip's members: `[T, 3, 224, 224]` float32, ImageNet-normalised."""
    from PIL import Image

    names = sorted(name for name in members if name.startswith("frame_"))
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(members[name]))) for name in names])
    video = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(torch.float32).div_(255)
    mean, std = torch.tensor(IMAGE_MEAN).view(3, 1, 1), torch.tensor(IMAGE_STD).view(3, 1, 1)
    return video.sub_(mean).div_(std)


def decode_fbank(content: bytes, frames: int, normalisation: Normalisation) -> Tensor:
    """An fbank member: `[K, frames, mel bins]` float32, normalised, then cut or zero-padded in time."""
    features = torch.from_numpy(np.load(io.BytesIO(content)).astype(np.float32))
    features = (features - normalisation.mean) / (2 * normalisation.std)
    missing = frames - features.shape[1]
    return torch.nn.functional.pad(features, (0, 0, 0, missing)) if missing > 0 else features[:, :frames]


class EpochOrder(Sampler[list[int]]):
    """The batches of an epoch as lists of clip indices: shuffled, or in manifest order.

    Shards are shuffled first, then the clips within blocks of shards. The order is a function of the seed
    and the epoch; set the latter with `set_epoch`. The last batch may be smaller.
    """

    def __init__(self, shards: Sequence[str], batch_size: int, *, seed: int | None) -> None:
        self._shards = np.unique(np.asarray(shards), return_inverse=True)[1]
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch, counted from 0, that iteration goes over."""
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-len(self._shards) // self._batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = self.clip_order()
        for start in range(0, len(order), self._batch_size):
            yield order[start : start + self._batch_size].tolist()

    def clip_order(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """All clip indices in this epoch's order."""
        if self._seed is None:
            return np.arange(len(self._shards))
        rng = np.random.default_rng([self._seed, self._epoch])
        rank = rng.permutation(self._shards.max() + 1)[self._shards]
        return np.lexsort((rng.random(len(rank)), rank // SHARDS_PER_BLOCK))


def collate(clips: list[dict[str, Any]]) -> Batch:
    """Stacks clips into a batch."""
    return Batch(
        keys=tuple(clip["key"] for clip in clips),
        video=torch.stack([clip["video"] for clip in clips]),
        audio=torch.stack([clip["audio"] for clip in clips]),
        labels=torch.stack([clip["labels"] for clip in clips]),
    )


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)


def make_loader(
    dataset: ClipDataset, batch_size: int, *, seed: int | None, workers: int
) -> tuple[DataLoader[Any], EpochOrder]:
    """A loader of batches and its order; shuffled when a `seed` is given."""
    order = EpochOrder([place.shard for place in dataset.places], batch_size, seed=seed)
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=order,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_one_thread,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        # Its own, because a loader draws from it: dropout must not depend on the number of workers.
        generator=torch.Generator(),
    )
    return loader, order
