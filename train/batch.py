"""Clips as batches of tensors, and the loader that yields them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from ..errors import StgcmaError
from ..model.noise import BatchSlice
from .augmentation import ClipDraw
from .order import Item
from .tasks.base import Task, Tensors
from .workers import Packed, enter_worker, loaded_by, possible_workers, stop_signals_held, to_send


@dataclass(frozen=True)
class Batch:
    """The clips of one step, or a micro-batch of them.

    Attributes:
        keys: of the clips.
        clips: their indices among the manifest's rows of the split.
        inputs: the model's inputs: `video`, `audio` and those of the task.
        targets: the targets, as the task collates them.
        weight: `[B]` float32; 0 for a padding clip.
        batch_slice: the slice of the step's clips.
        draws: the augmentation of each clip that the device applies; empty where the loader has applied it.
    """

    keys: tuple[str, ...]
    clips: tuple[int, ...]
    inputs: Tensors
    targets: Tensors
    weight: Tensor
    batch_slice: BatchSlice
    draws: tuple[ClipDraw, ...] = ()

    @property
    def is_padding(self) -> bool:
        """True when no clip counts."""
        return not self.weight.any()

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors of the batch."""
        drawn = [values for draw in self.draws for _, _, values in draw.erased]
        return [*self.inputs.values(), *self.targets.values(), self.weight, *drawn]

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in pinned memory, from which copies to a GPU are asynchronous.

        The loader calls this.
        """
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        def changed(tensors: Tensors) -> Tensors:
            return {name: change(tensor) for name, tensor in tensors.items()}

        return replace(
            self,
            inputs=changed(self.inputs),
            targets=changed(self.targets),
            weight=change(self.weight),
            draws=tuple(draw.map(change) for draw in self.draws),
        )


class UnreadableClip(NamedTuple):
    """The error of a clip that could not be read, to be sent by a loader's worker."""

    error: type[StgcmaError]
    message: str


@dataclass(frozen=True)
class ClipTensors:
    """One clip, as `ClipDataset` returns it for an item.

    Attributes:
        key: of the clip.
        inputs: the model's inputs `video`, `audio` and `negative`, without the batch dimension.
        targets: as the task reads them.
        item: that the order asked for.
        draw: the augmentation that is left to the device.
    """

    key: str
    inputs: Tensors
    targets: Tensors
    item: Item
    draw: ClipDraw | None = None


class TaskDataset(Dataset[Any]):
    """Clips of a task by item of an order, each a `ClipTensors` or an `UnreadableClip`."""

    task: Task


class Collate:
    """Collate clips into a batch; picklable for the loader's workers."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def __call__(self, clips: list[ClipTensors | UnreadableClip]) -> Batch | UnreadableClip | Packed:
        """Return the batch as `collate` does; in a worker, ready to be sent."""
        batch = self.collate(clips)
        if get_worker_info() is None:
            return batch
        sent: Batch | UnreadableClip | Packed = to_send(
            batch, batch.tensors if isinstance(batch, Batch) else ()
        )
        return sent

    def collate(self, clips: list[ClipTensors | UnreadableClip]) -> Batch | UnreadableClip:
        """Return the batch of `clips`, or the first of them that could not be read."""
        read: list[ClipTensors] = []
        for clip in clips:
            if isinstance(clip, UnreadableClip):
                return clip
            read.append(clip)
        inputs = {name: _joined([clip.inputs[name] for clip in read]) for name in read[0].inputs}
        task_inputs, targets = self.task.collate([clip.targets for clip in read])
        return Batch(
            keys=tuple(clip.key for clip in read),
            clips=tuple(clip.item.clip for clip in read),
            inputs=inputs | task_inputs,
            targets=targets,
            weight=torch.tensor([float(clip.item.counted) for clip in read]),
            batch_slice=read[0].item.batch_slice,
            draws=tuple(clip.draw for clip in read if clip.draw is not None),
        )


def _joined(clips: list[Tensor]) -> Tensor:
    """Return the tensors of clips, stacked; frames `[T, 3, H, W]` as the decoder gives them stay so."""
    if clips[0].dtype == torch.uint8 and clips[0].dim() == 4 and not clips[0].is_contiguous():
        return torch.stack([frames.movedim(1, -1) for frames in clips]).movedim(-1, 2)
    return torch.stack(clips)


def make_loader(dataset: TaskDataset, order: Sampler[list[Item]], *, workers: int) -> DataLoader[Any]:
    """Return a loader of the batches in `order`; iterate over it with `batches`.

    It has fewer than `workers` processes when shared memory is too small for them.
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
        # A generator of its own, because a loader draws from it: dropout must not depend on the workers.
        generator=torch.Generator(),
    )


def batches(loader: Iterable[Any]) -> Iterator[Batch]:
    """Yield the batches of a loader, which yields them singly or in lists.

    Raises StgcmaError naming the shard of a clip that cannot be read.
    """
    with stop_signals_held():
        started = iter(loader)  # starts the processes
    for loaded in loaded_by(started):
        content = loaded.unpacked() if isinstance(loaded, Packed) else loaded
        for batch in content if isinstance(content, list) else [content]:
            if isinstance(batch, UnreadableClip):
                raise batch.error(batch.message)
            yield batch
