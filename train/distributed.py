"""Several processes that train one model: started by `torchrun`, each with its share of every step."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..errors import InputError, StgcmaError


@dataclass(frozen=True)
class World:
    """A process among all that train: `rank` of `size`, on `device`."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes and talks."""
        return self.rank == 0

    @property
    def shared(self) -> bool:
        """Whether there are other processes."""
        return self.size > 1

    def gather(self, values: list[float]) -> npt.NDArray[np.float64]:
        """The `values` of every process, which are equally many, as `[size, values]`."""
        if not self.shared:
            # A copy to a GPU and back would wait for all that the GPU has been given to do.
            return np.array([values], dtype=np.float64)
        own = torch.tensor(values, dtype=torch.float64, device=self.device)
        rows = [torch.empty_like(own) for _ in range(self.size)]
        torch.distributed.all_gather(rows, own)
        return torch.stack(rows).cpu().numpy()

    def gather_texts(self, texts: list[str]) -> list[str]:
        """Everybody's `texts`, in the order of the ranks."""
        if not self.shared:
            return texts
        everybody: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(everybody, texts)
        return [text for own in everybody for text in own]

    def wait(self) -> None:
        """Waits for all others to come here."""
        if self.shared:
            torch.distributed.barrier()

    def lead(self, work: Callable[[], None]) -> None:
        """Does `work` in the process that leads; the others wait. A StgcmaError of it is everybody's."""
        told: list[StgcmaError | None] = [None]
        if self.leads:
            try:
                work()
            except StgcmaError as error:
                told = [error]
        if self.shared:
            torch.distributed.broadcast_object_list(told, device=self.device)
        if told[0] is not None:
            raise told[0]

    def check_alike(self, values: list[float], what: str) -> None:
        """Raises InputError unless all have the same `values`: every process reads the same RUN folder."""
        rows = self.gather(values)
        if (rows != rows[0]).any():
            raise InputError(f"the processes find {what} in RUN; it must be a folder that all machines share")


def leads() -> bool:
    """Whether this process writes and talks: alone it does, under `torchrun` the first one."""
    return int(os.environ.get("RANK", 0)) == 0


def pick_device(name: str = "auto") -> torch.device:
    """The device `name`, as torch calls it; `auto` is the GPU when there is one, else the CPU.

    Raises InputError for a device that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} cannot be used ({reason}); choose auto, cpu or cuda") from error


@contextmanager
def world() -> Iterator[World]:
    """Joins the processes that `torchrun` started, until this one ends; alone without it."""
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        yield World(0, 1, pick_device())
        return
    cuda, local = torch.cuda.is_available(), int(os.environ.get("LOCAL_RANK", 0))
    if cuda and local >= torch.cuda.device_count():
        raise InputError(
            f"there are {torch.cuda.device_count()} GPUs here, too few for process {local + 1}; "
            "start fewer with --nproc-per-node"
        )
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if not torch.distributed.is_initialized():
        # Once: a second group of the same processes would find the first one's addresses.
        torch.distributed.init_process_group("nccl" if cuda else "gloo")
        atexit.register(torch.distributed.destroy_process_group)
    yield World(rank, size, device)


class SharedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation `[rows, C]` over the rows of all processes.

    torch's own does this on GPUs alone. `counted` is False while this process has only a stand-in clip.
    """

    counted = True

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        from torch.distributed.nn import functional

        all_reduce: Any = functional.all_reduce  # differentiable, and untyped
        rows = x.float() * float(self.counted)
        count = torch.full((1,), len(x) * float(self.counted), device=x.device)
        sums = all_reduce(torch.cat([rows.sum(0), count]))
        total = sums[-1].clamp(min=1)
        mean = sums[:-1] / total
        squares = (x.float() - mean).square().sum(0) * float(self.counted)
        variance = all_reduce(squares) / total
        self._remember(mean.detach(), variance.detach(), float(total))
        normed = (x.float() - mean) * torch.rsqrt(variance + self.eps)
        scaled: Tensor = normed * self.weight + self.bias
        return scaled.to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: float) -> None:
        kept: Any = self  # torch's types allow for norms that keep no statistics; the model's all do
        kept.running_mean.lerp_(mean, kept.momentum)
        kept.running_var.lerp_(variance * count / max(count - 1, 1), kept.momentum)
        kept.num_batches_tracked.add_(1)


def share_batch_norms(model: nn.Module) -> list[SharedBatchNorm]:
    """Makes every batch normalisation of `model` one over all processes, and returns them."""
    shared = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    for module in shared:
        module.__class__ = SharedBatchNorm
    return [module for module in shared if isinstance(module, SharedBatchNorm)]
