"""The loader's processes: their number, the transport of batches, and the error of a lost one.

A batch is sent in shared memory when it fits, else as bytes through a pipe, which costs some copies. With
torch's own transport, a batch that does not fit is lost in a thread of the sender, and the receiver waits
without end.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..console import message
from ..errors import StgcmaError

# Shared memory of Linux; a semaphore takes a page of it.
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (nothing is written there)
# Semaphores of a loader: of its queue of batches and its event, and of every worker's queue of indices.
_SEMAPHORES, _SEMAPHORES_EACH = 8, 3
_LOADERS = 2  # one for training and one for scoring exist at a time
_HEADROOM_BYTES = 1 << 20  # of shared memory, left free for other programs
_REPORT_SECONDS = 5.0  # within which a process's end is reported; the report ends the sleep
_LOST = "DataLoader worker"  # the beginning of torch's messages about a lost worker


def to_send(loaded: Any, tensors: Sequence[Tensor]) -> Any:
    """Move the `tensors` of `loaded` to shared memory and return it; return it Packed when they do not fit.

    For a loader's worker.
    """
    needed = sum(tensor.nbytes for tensor in tensors)
    free = free_shared_bytes()
    # Writing a page that cannot be allocated raises SIGBUS, so the free memory is checked first.
    if free is not None and free < 2 * needed + _HEADROOM_BYTES:
        return Packed.of(loaded)
    try:
        for tensor in tensors:
            tensor.share_memory_()  # type: ignore[no-untyped-call]
    except RuntimeError:  # another process took the memory, or file descriptors ran out
        return Packed.of(loaded)
    return loaded


@dataclass(frozen=True)
class Packed:
    """A loaded object as bytes, to be sent by a worker."""

    content: bytes

    @classmethod
    def of(cls, loaded: Any) -> Packed:
        """Pack `loaded`, whose tensors are on the CPU."""
        stream = io.BytesIO()
        _Pickler(stream, protocol=5).dump(loaded)
        return cls(stream.getvalue())

    def unpacked(self) -> Any:
        """Return the object; its tensors own their memory."""
        _message_once(
            f"shared memory ({_SHARED_MEMORY}) is too small for batches: they travel through pipes, "
            "which is slower; with docker, --shm-size gives more"
        )
        return pickle.loads(self.content)  # noqa: S301 (from this program's own worker)

    def pin_memory(self) -> Any:
        """Return the object in pinned memory; the loader calls this where there is a GPU."""
        loaded = self.unpacked()
        if isinstance(loaded, list):
            return [_pinned(each) for each in loaded]
        return _pinned(loaded)


def _pinned(loaded: Any) -> Any:
    return loaded.pin_memory() if hasattr(loaded, "pin_memory") else loaded


class _Pickler(pickle.Pickler):
    """Pickles tensors as NumPy arrays: torch's own reduction is slower, or shares memory."""

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is Tensor:
            return torch.from_numpy, (obj.numpy(),)
        return NotImplemented


def possible_workers(wanted: int, *, free_bytes: int | None = None) -> int:
    """Return the number of the `wanted` loader processes that fit; fewer are reported on stderr.

    Args:
        wanted: number of processes.
        free_bytes: of shared memory, which the semaphores of their queues need; measured when not given.
    """
    free = free_shared_bytes() if free_bytes is None else free_bytes
    if free is None:
        return wanted
    pages = free // os.sysconf("SC_PAGE_SIZE") // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    # Half of it is left to other programs.
    room = pages // 2 // _LOADERS - _SEMAPHORES
    possible = max(min(wanted, room // _SEMAPHORES_EACH), 0)
    if possible < wanted:
        _message_once(
            f"shared memory ({_SHARED_MEMORY}) has {free // 1024} KiB free, too little for "
            f"data.workers={wanted}; loading with {possible} loader processes"
        )
    return possible


def free_shared_bytes() -> int | None:
    """Return the free shared memory: 0 where Linux has none, None where semaphores do not need it."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        status = os.statvfs(_SHARED_MEMORY)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize


@lru_cache
def _message_once(text: str) -> None:
    if int(os.environ.get("LOCAL_RANK", 0)) == 0:
        message(text)


@contextmanager
def lost_workers_named() -> Iterator[None]:
    """Turn torch's error about a lost worker into a StgcmaError that suggests `data.workers`."""
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        if not reason.startswith(_LOST):
            raise
        raise _lost_worker(reason) from error


def _lost_worker(reason: str) -> StgcmaError:
    return StgcmaError(
        f"a loader process was lost ({reason.rstrip('. ')}); memory may have run out: "
        "set data.workers to fewer, or to 0"
    )


def loaded_by(started: Iterator[Any]) -> Iterator[Any]:
    """Yield what a loader's iterator yields.

    A process that ends while its batch is received closes the connection before the system reports its end
    to torch, which raises an error with the process's number: this waits for that error.

    Raises:
        StgcmaError: a process was lost, and its end is not reported.
    """
    while True:
        try:
            loaded = next(started)
        except StopIteration:
            return
        except (ConnectionError, EOFError) as error:
            if _LOST in str(error):  # of the work in a process, which torch raises here again
                raise
            time.sleep(_REPORT_SECONDS)
            raise _lost_worker(f"{_LOST}: {type(error).__name__}") from error
        yield loaded


@contextmanager
def stop_signals_held() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back in this thread and in the processes that it starts.

    A loader process inherits the mask: a signal to the whole group does not end it before `enter_worker` ran.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def enter_worker(_worker: int) -> None:
    """Set up a loader process: one thread, and no reaction to signals but the parent's."""
    torch.set_num_threads(1)
    # Ctrl-C, and the SIGTERM of torchrun or a scheduler, reach every process of the group. The parent saves
    # the state first, and then ends its workers, also with SIGTERM, which `stop_signals_held` has blocked.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        threading.Thread(target=_end_with_parents_signal, name="stop", daemon=True).start()


def _end_with_parents_signal() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
