"""Data-parallel training: the process group that `torchrun` starts, and batch normalisation over it."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..errors import InputError, StgcmaError
from ..model.batch_norm import BatchNorm

Floating = TypeVar("Floating", np.float32, np.float64)


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together, seen from one: `rank` of `size`, on `device`."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """True on rank 0, which writes files and messages."""
        return self.rank == 0

    @property
    def is_distributed(self) -> bool:
        """True when there are other processes."""
        return self.size > 1

    def gather(self, values: list[float]) -> npt.NDArray[np.float64]:
        """Return the `values` of every rank as `[size, values]`; every rank gives equally many."""
        if not self.is_distributed:
            # A copy to a GPU and back would wait for all queued kernels.
            return np.array([values], dtype=np.float64)
        local = torch.tensor(values, dtype=torch.float64, device=self.device)
        rows = [torch.empty_like(local) for _ in range(self.size)]
        torch.distributed.all_gather(rows, local)
        return torch.stack(rows).cpu().numpy()

    def sum(self, values: list[float]) -> list[float]:
        """Return the sums of `values` over all ranks."""
        totals: list[float] = self.gather(values).sum(0).tolist()
        return totals

    def sum_tensor(self, values: Tensor) -> Tensor:
        """Return the sums of `values` over all ranks, added in the order of the ranks."""
        if not self.is_distributed:
            return values
        rows = [torch.empty_like(values) for _ in range(self.size)]
        torch.distributed.all_gather(rows, values)
        return sum(rows[1:], rows[0])

    def join_rows(self, rows: npt.NDArray[Floating], clips: npt.NDArray[np.int64]) -> npt.NDArray[Floating]:
        """Return the rows of all ranks in the order of their clips, whatever clips a rank has.

        Args:
            rows: of this rank, `[n, …]`.
            clips: index of the clip of each row, `[n]`.

        Raises ValueError when they are not equally many.
        """
        if len(rows) != len(clips):
            raise ValueError(f"there are {len(rows)} rows of {len(clips)} clips")
        order = np.argsort(self._concatenate(clips), kind="stable")
        return np.asarray(self._concatenate(rows)[order])

    def _concatenate(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the rows `[n, …]` of all ranks, those of rank 0 first; n may differ."""
        if not self.is_distributed:
            return rows
        counts = self.gather([float(len(rows))])[:, 0].astype(int).tolist()
        padded = np.zeros((max(counts), *rows.shape[1:]), dtype=rows.dtype)
        padded[: len(rows)] = rows
        local = torch.from_numpy(padded).to(self.device)
        gathered = [torch.empty_like(local) for _ in range(self.size)]
        torch.distributed.all_gather(gathered, local)
        parts = [part[:count].cpu().numpy() for part, count in zip(gathered, counts, strict=True)]
        return np.concatenate(parts)

    def barrier(self) -> None:
        """Wait until every rank has called this."""
        if self.is_distributed:
            torch.distributed.barrier()

    def run_on_main(self, work: Callable[[], None]) -> None:
        """Run `work` on rank 0 while the others wait, and re-raise its StgcmaError on every rank."""
        raised: list[StgcmaError | None] = [None]
        if self.is_main:
            try:
                work()
            except StgcmaError as error:
                raised = [error]
        if self.is_distributed:
            torch.distributed.broadcast_object_list(raised, device=self.device)
        if raised[0] is not None:
            raise raised[0]

    def check_equal(self, values: list[float], what: str) -> None:
        """Raise InputError unless `values` are equal on all ranks, which read them from the RUN folder."""
        rows = self.gather(values)
        if (rows != rows[0]).any():
            raise InputError(f"the processes find {what} in RUN; it must be a folder that all machines share")


def is_main_process() -> bool:
    """Return True on rank 0 of `torchrun`, and in a process without it."""
    return int(os.environ.get("RANK", 0)) == 0


def pick_device(name: str = "auto") -> torch.device:
    """Return the device `name`, as torch spells it; `auto` is the GPU if there is one, else the CPU.

    Raises InputError for a device that does not exist.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} cannot be used ({reason}); choose auto, cpu or cuda") from error


@contextmanager
def process_group() -> Iterator[ProcessGroup]:
    """Join the processes that `torchrun` started; without it, a group of this process alone.

    Raises InputError when the machine has fewer GPUs than processes.
    """
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        yield ProcessGroup(0, 1, pick_device())
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
        # Once per process: a second group of the same processes would find the addresses of the first.
        torch.distributed.init_process_group("nccl" if cuda else "gloo")
        atexit.register(torch.distributed.destroy_process_group)
    yield ProcessGroup(rank, size, device)


class SharedBatchNorm(BatchNorm):
    """Batch normalisation `[rows, C]` over the rows of all processes.

    torch's SyncBatchNorm runs on GPUs only. `is_counted` is False while this process has only a padding clip.
    """

    is_counted = True

    def forward(self, x: Tensor, counted: Tensor | None = None) -> Tensor:
        if not self.training:
            return super().forward(x)
        if counted is None:
            counted = torch.ones(1, dtype=torch.bool, device=x.device)
        return self.over_counted(x, counted & self.is_counted)

    def summed(self, values: Tensor) -> Tensor:
        """Return the sums of `values` over all processes."""
        total: Tensor = _Summed.apply(values)  # type: ignore[no-untyped-call]
        return total


class _Summed(torch.autograd.Function):
    """The sums over all processes, of values and of their gradients, as an operation that can be compiled."""

    @staticmethod
    def forward(_context: Any, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient)


def _summed(values: Tensor) -> Tensor:
    from torch.distributed import _functional_collectives as collectives

    untyped: Any = collectives
    group = torch.distributed.group.WORLD
    total: Tensor = untyped.wait_tensor(untyped.all_reduce(values.contiguous(), "sum", group))
    return total


def share_batch_norms(model: nn.Module) -> list[SharedBatchNorm]:
    """Make every batch normalisation of `model` a `SharedBatchNorm`, and return them."""
    shared = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    for module in shared:
        module.__class__ = SharedBatchNorm
    return [module for module in shared if isinstance(module, SharedBatchNorm)]
