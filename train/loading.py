"""The clips of a run and their loaders, indexed or streamed as `data.read` says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader

from ..model import ModelConfig
from ..shards.schema import DatasetInfo
from ..shards.storage import Location
from .batch import make_loader
from .config import RunConfig
from .data import ClipDataset
from .distributed import ProcessGroup
from .order import EpochOrder, MicroBatches, ScoringOrder
from .sections import DataConfig
from .stream_plan import StreamOrder, Streams
from .tasks.base import Task
from .workers import possible_workers

LOADER_PROCESSES = "loader processes"


def open_clips(
    location: Location,
    split: str,
    task: Task,
    data: DataConfig,
    model: ModelConfig,
    *,
    seed: int | None = None,
    measured: DatasetInfo | None = None,
) -> ClipDataset:
    """Return the clips of one split; the arguments and errors are those of ClipDataset."""
    if data.read == "indexed":
        return ClipDataset(location, split, task, data, model, seed=seed, measured=measured)
    from .streaming import StreamedClips

    return StreamedClips(location, split, task, data, model, seed=seed, measured=measured)


def training_batches(
    clips: ClipDataset,
    config: RunConfig,
    *,
    rank: int,
    micro_batches: MicroBatches,
    questions: npt.NDArray[np.int64] | None,
    stream_workers: int | None = None,
) -> tuple[EpochOrder | StreamOrder, DataLoader[Any]]:
    """Return the order of the epochs, and the loader of this process's micro-batches, for `batches`.

    Args:
        clips: of `open_clips`.
        config: of the run.
        rank: of this process.
        micro_batches: the division of a step.
        questions: the number of questions of each clip, `[clips]`, to make every question an item.
        stream_workers: loader processes of a stream; the steps depend on it, so it is equal on all ranks.
            None for as many as there is room for.

    Raises InputError when streamed shards are fewer than processes.
    """
    shards = clips.places.shards
    size = config.optim.batch_size
    if config.data.read == "indexed":
        order = EpochOrder(
            shards, size, seed=config.train.seed, micro_batches=micro_batches, questions=questions
        )
        return order, make_loader(clips, order, workers=config.data.workers or 0)
    workers = possible_workers(config.data.workers or 0) if stream_workers is None else stream_workers
    streams = Streams(
        batch_size=size,
        rank=rank,
        processes=micro_batches.total // micro_batches.count,
        workers=max(workers, 1),
        micro_batches=micro_batches.count,
        buffer=config.data.shuffle_buffer,
        seed=config.train.seed,
    )
    return _streamed(clips, shards, streams, questions=questions, workers=workers)


def scoring_batches(
    clips: ClipDataset, config: RunConfig, *, batch_size: int, rank: int, world_size: int
) -> tuple[ScoringOrder | StreamOrder, DataLoader[Any]]:
    """Return the order in which a split is scored, and the loader of its batches of `batch_size` clips."""
    if config.data.read == "indexed":
        order = ScoringOrder(len(clips), batch_size, rank=rank, world_size=world_size)
        return order, make_loader(clips, order, workers=config.data.workers or 0)
    workers = possible_workers(config.data.workers or 0)
    shards = clips.places.shards
    streams = Streams(batch_size * world_size, rank, world_size, max(workers, 1), padded=False)
    return _streamed(clips, shards, streams, questions=None, workers=workers)


def _streamed(
    clips: ClipDataset,
    shards: Sequence[str],
    streams: Streams,
    *,
    questions: npt.NDArray[np.int64] | None,
    workers: int,
) -> tuple[StreamOrder, DataLoader[Any]]:
    from .streaming import StreamedClips, make_stream

    if not isinstance(clips, StreamedClips):
        raise TypeError(f"clips are a {type(clips).__name__}, must come from open_clips")
    order = StreamOrder(shards, streams, questions=questions)
    return order, make_stream(clips, order, workers=workers)


def stream_shape(data: DataConfig, group: ProcessGroup) -> dict[str, int] | None:
    """Return the numbers that the order of streamed clips depends on; None where clips are not streamed.

    They are equal on all ranks, though their machines may have room for different numbers of workers.
    """
    if data.read == "indexed":
        return None
    room = group.gather([float(possible_workers(data.workers or 0))])
    return {"processes": group.size, LOADER_PROCESSES: int(room.min())}
