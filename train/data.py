"""Clips from the shards as batches of tensors."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from ..errors import InputError, StgcmaError
from ..model import ModelConfig
from ..model.inputs import normalise_fbank
from ..model.noise import Part
from ..shards.cache import cache_folder
from ..shards.manifest import read_dataset
from ..shards.members import (
    frame_name,
    frame_names,
    member,
    named_clip,
    open_frames,
    open_picture,
    read_energies,
    read_questions,
)
from ..shards.reader import ClipReader, small_members, split_places
from ..shards.schema import SHARD_FOLDER, DatasetInfo
from ..shards.storage import Location, open_store
from .augmentation import FrameAugmentation, mix_powers
from .config import DataConfig
from .order import Item, item_rng
from .tasks.base import Task, Tensors
from .workers import Packed, enter_worker, possible_workers, to_send

# What a clip's random draws are for.
_AUGMENT, _MIXUP, _NEGATIVE = range(3)


@dataclass(frozen=True)
class Normalisation:
    """Of an fbank: `(x − mean) / (2·std)`."""

    mean: float
    std: float


@dataclass(frozen=True)
class Batch:
    """Clips of one step, or a part of them.

    Attributes:
        keys: the clips' keys.
        inputs: what the model takes: `video`, `audio` and the task's own.
        targets: what is right, as the task collates it.
        weight: `[B]` float32; 0 for a clip that does not count.
        part: which part of the step's clips they are.
    """

    keys: tuple[str, ...]
    inputs: Tensors
    targets: Tensors
    weight: Tensor
    part: Part

    def to(self, device: torch.device) -> Batch:
        """The batch on `device`."""

        def move(tensors: Tensors) -> Tensors:
            return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}

        weight = self.weight.to(device, non_blocking=True)
        return Batch(self.keys, move(self.inputs), move(self.targets), weight, self.part)

    @property
    def tensors(self) -> list[Tensor]:
        """All its tensors."""
        return [*self.inputs.values(), *self.targets.values(), self.weight]

    def pin_memory(self) -> Batch:
        """The batch in pinned memory, from where a GPU copies without waiting; the loader calls this."""

        def pin(tensors: Tensors) -> Tensors:
            return {name: tensor.pin_memory() for name, tensor in tensors.items()}

        return Batch(self.keys, pin(self.inputs), pin(self.targets), self.weight.pin_memory(), self.part)


class Failure(NamedTuple):
    """A clip that could not be read, on its way from a loader's worker."""

    error: type[StgcmaError]
    message: str


class ClipDataset(Dataset[Any]):
    """The clips of one split of a shard directory, each as a dict of tensors.

    `model` says which inputs are read and in which shape. With `seed`, clips are made for training:
    augmented, mixed and with negatives as `data` says, all drawn from the seed and the item.
    `measured` says how fbanks are normalised: what the model was trained on; `task.info` when not given.
    `usual_seconds` is the median length of the clips.
    Raises InputError when the directory lacks the split or the model's fbank.
    """

    def __init__(
        self,
        location: Location,
        split: str,
        task: Task,
        data: DataConfig,
        model: ModelConfig,
        *,
        seed: int | None = None,
        measured: DatasetInfo | None = None,
    ) -> None:
        self.location, self.split, self.task, self.data = location, split, task, data
        self.places, seconds = split_places(location, split)
        if not self.places:
            raise InputError(
                f"{location} has no clips in split {split!r}; make shards of more clips, or of clips in "
                "folders train, val and test"
            )
        self.usual_seconds = statistics.median(seconds)
        self.modalities = model.modalities
        self._shapes = {name: shape[1:] for name, shape in model.input_shapes().items()}
        self.audio_frames, mel_bins = model.audio_shape
        self.fbank = f"fbank_{mel_bins}"
        self.normalisation = normalisation_of(measured or task.info, data, self.fbank, where=str(location))
        self.seed = seed
        self._reader = ClipReader(
            location, cache=cache_folder(location, task.info.data_fingerprint, root=data.cache)
        )
        self._augmentation = (
            FrameAugmentation(model.image_size, data) if seed is not None and data.augment else None
        )
        self._negatives = seed is not None and task.needs_negatives and len(self.places) > 1
        self._frames = model.frames
        self._read_by = 0  # the process whose reads `_was_read` notes
        self._was_read = bytearray()

    def close(self) -> None:
        """Closes the shard that this process has open."""
        self._reader.close()

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, item: Item) -> dict[str, Any] | Failure:
        # An exception from a worker would arrive as a page of traceback.
        try:
            return self._read(item)
        except StgcmaError as error:
            return Failure(type(error), str(error))

    def members(self, clip: int) -> dict[str, bytes]:
        """The members of a clip, compared with the manifest's hash when this process reads it first."""
        if self._read_by != os.getpid():
            # Also in a run that was resumed, and in every loader process: another may have read other bytes.
            self._read_by, self._was_read = os.getpid(), bytearray(len(self.places))
        check = self.data.verify and not self._was_read[clip]
        members = self._reader.read(self.places[clip], check=check)
        self._was_read[clip] = True
        return members

    def question_counts(self) -> npt.NDArray[np.int64]:
        """How many questions each clip has, read from the shards, `[clips]`."""
        store = open_store(self.location)
        counts = []
        for shard in dict.fromkeys(place.shard for place in self.places):
            members = small_members(store, f"{SHARD_FOLDER}/{shard}", ("qa.json",))
            counts += [len(read_questions(content)) for _, content in members]
        if len(counts) != len(self.places):
            raise StgcmaError(
                f"{self.location}: {len(counts)} question lists, {len(self.places)} {self.split} clips"
            )
        return np.asarray(counts, dtype=np.int64)

    def _read(self, item: Item) -> dict[str, Any]:
        members = self.members(item.clip)
        with named_clip(self.location, self.places[item.clip].key):
            return self._tensors(members, item)

    def _tensors(self, members: dict[str, bytes], item: Item) -> dict[str, Any]:
        inputs: Tensors = {}
        if "video" in self.modalities:
            inputs["video"] = self._video(members, item)
        if "audio" in self.modalities:
            inputs["audio"] = self._audio(members, item)
        if self._negatives:
            inputs["negative"] = decode_frames(self._negative(item))
        for name, tensor in inputs.items():
            if tuple(tensor.shape) != self._shapes[name]:
                wanted = list(self._shapes[name])
                raise StgcmaError(f"its {name} has the shape {list(tensor.shape)}, the model takes {wanted}")
        return {
            "key": self.places[item.clip].key,
            "inputs": inputs,
            "targets": self.task.targets(members, item.question),
            "item": item,
        }

    def _video(self, members: dict[str, bytes], item: Item) -> Tensor:
        if self._augmentation is None:
            return decode_frames(members)
        seed = int(item_rng(self.seed or 0, item, _AUGMENT).integers(2**32))
        return self._augmentation(open_frames(members), seed)

    def _negative(self, item: Item) -> dict[str, bytes]:
        """The frames that do not belong to the item's clip, by the names of its own.

        As the authors' loader draws them: each from another clip drawn anew, any frame of it.
        """
        rng = item_rng(self.seed or 0, item, _NEGATIVE)
        if self.data.negatives == "clip":
            other = self.members(self._other(rng, item.clip))
            return {name: other[name] for name in frame_names(other)}
        drawn = [(self._other(rng, item.clip), int(rng.integers(self._frames))) for _ in range(self._frames)]
        return {frame_name(place): self._frame(*frame) for place, frame in enumerate(drawn)}

    def _frame(self, clip: int, number: int) -> bytes:
        """One frame of a clip; only it and headers are read when the clip's hash has been compared."""
        name = frame_name(number)
        if self.data.verify and not (self._read_by == os.getpid() and self._was_read[clip]):
            return member(self.members(clip), name)
        return self._reader.read_member(self.places[clip], name)

    def _audio(self, members: dict[str, bytes], item: Item) -> Tensor:
        features = read_fbank(members, self.fbank)
        if self.seed is not None and self.data.mixup and len(self.places) > 1:
            rng = item_rng(self.seed, item, _MIXUP)
            if rng.random() < self.data.mixup:
                other = self.members(self._other(rng, item.clip))
                share = float(rng.beta(self.data.mixup_beta, self.data.mixup_beta))
                features = mix_powers(features, read_fbank(other, self.fbank), share)
        return normalise(features, self.audio_frames, self.normalisation)

    def _other(self, rng: Any, clip: int) -> int:
        """Any clip but `clip`."""
        return int((clip + 1 + rng.integers(len(self.places) - 1)) % len(self.places))


def decode_frames(members: dict[str, bytes]) -> Tensor:
    """The frames among a clip's members: `[T, 3, 224, 224]` uint8, which `run_model` normalises.

    A quarter of the bytes goes from the loader's processes to the device. Raises StgcmaError when one is not
    a JPEG picture.
    """
    from torchvision.io import ImageReadMode, decode_jpeg

    frames = []
    for name in frame_names(members):
        open_picture(members[name], name)  # the size that its header claims, before any pixel is unpacked
        content = torch.frombuffer(bytearray(members[name]), dtype=torch.uint8)
        try:
            frames.append(decode_jpeg(content, mode=ImageReadMode.RGB))
        except RuntimeError as error:
            raise StgcmaError(f"{name} is not a JPEG picture: {error}") from None
    if len({frame.shape for frame in frames}) != 1:
        raise StgcmaError(f"there are {len(frames)} frames of different sizes, expected frames of one size")
    return torch.stack(frames)


def read_fbank(members: dict[str, bytes], fbank: str) -> npt.NDArray[np.float32]:
    """The member `fbank` (`fbank_128`): log-mel energies `[K, frames, mel bins]`; as `read_energies`."""
    return (
        torch.from_numpy(read_energies(members, fbank)).to(torch.float32).numpy()
    )  # 5 × as fast as NumPy does it


def normalisation_of(info: DatasetInfo, data: DataConfig, fbank: str, *, where: str) -> Normalisation:
    """How the member `fbank` is normalised: as `data` says, else as measured on the training clips.

    Raises InputError naming `where` when the collection has no such member.
    """
    measured = info.audio.get(fbank)
    if measured is None:
        made = ", ".join(sorted(info.audio)) or "none"
        raise InputError(
            f"{where} has no {fbank} of training clips (it has {made}); "
            "preprocess with the --features that this preset's backbone needs"
        )
    mean = measured.mean if data.fbank_mean is None else data.fbank_mean
    std = measured.std if data.fbank_std is None else data.fbank_std
    return Normalisation(mean, std)


def normalise(features: npt.NDArray[np.float32], frames: int, normalisation: Normalisation) -> Tensor:
    """Log-mel energies `[K, n, mel bins]` → `[K, frames, mel bins]`, normalised, then cut or zero-padded."""
    return normalise_fbank(torch.from_numpy(features), frames, normalisation.mean, normalisation.std)


class Collate:
    """Puts clips into a batch. Picklable, for the loader's workers, which send it."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def __call__(self, clips: list[dict[str, Any] | Failure]) -> Batch | Failure | Packed:
        batch = self.collate(clips)
        if get_worker_info() is None:
            return batch
        sent: Batch | Failure | Packed = to_send(batch, batch.tensors if isinstance(batch, Batch) else ())
        return sent

    def collate(self, clips: list[dict[str, Any] | Failure]) -> Batch | Failure:
        """The batch of `clips`, or the failure of the first that could not be read."""
        for clip in clips:
            if isinstance(clip, Failure):
                return clip
        read: list[Any] = clips
        asked, targets = self.task.collate([clip["targets"] for clip in read])
        inputs = {name: torch.stack([clip["inputs"][name] for clip in read]) for name in read[0]["inputs"]}
        return Batch(
            keys=tuple(clip["key"] for clip in read),
            inputs=inputs | asked,
            targets=targets,
            weight=torch.tensor([float(clip["item"].counted) for clip in read]),
            part=read[0]["item"].part,
        )


def make_loader(dataset: ClipDataset, order: Sampler[list[Item]], *, workers: int) -> DataLoader[Any]:
    """A loader of the batches that `order` names; iterate over it with `batches`.

    It has fewer than `workers` processes where shared memory has no room for them.
    """
    workers = possible_workers(workers)
    return DataLoader(
        dataset,
        batch_sampler=order,
        num_workers=workers,
        collate_fn=Collate(dataset.task),
        worker_init_fn=enter_worker,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
        # Its own, because a loader draws from it: dropout must not depend on the number of workers.
        generator=torch.Generator(),
    )


def batches(loader: Iterable[Any]) -> Iterator[Batch]:
    """The loader's batches, also of one that gives lists of them.

    Raises StgcmaError naming the shard where a clip cannot be read.
    """
    for loaded in loader:
        content = loaded.unpacked() if isinstance(loaded, Packed) else loaded
        for batch in content if isinstance(content, list) else [content]:
            if isinstance(batch, Failure):
                raise batch.error(batch.message)
            yield batch


def open_task(location: Location) -> Task:
    """The task of the shard directory at `location`."""
    from .tasks import task_of

    return task_of(read_dataset(location))
