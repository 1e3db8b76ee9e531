"""The clips of a run and its loaders, read as `data.read` says."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader

from ..model import ModelConfig
from ..shards.schema import DatasetInfo
from ..shards.storage import Location
from .config import DataConfig, RunConfig
from .data import ClipDataset, make_loader
from .distributed import World
from .order import EpochOrder, ScoringOrder, Shares
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
    """The clips of one split, to be read as `data.read` says. Raises as ClipDataset does."""
    if data.read == "indexed":
        return ClipDataset(location, split, task, data, model, seed=seed, measured=measured)
    from .streaming import StreamedClips

    return StreamedClips(location, split, task, data, model, seed=seed, measured=measured)


def training_batches(
    clips: ClipDataset,
    config: RunConfig,
    *,
    rank: int,
    shares: Shares,
    questions: npt.NDArray[np.int64] | None,
    stream_workers: int | None = None,
) -> tuple[EpochOrder | StreamOrder, DataLoader[Any]]:
    """The order of the epochs, and the loader of this process's parts of every step, by `batches`.

    stream_workers: loader processes of a stream, the same in every process that trains: the plan of the steps
        hangs on it; None for as many as there is room for.

    Raises InputError when streamed shards are fewer than processes.
    """
    shards = [place.shard for place in clips.places]
    size = config.optim.batch_size
    if config.data.read == "indexed":
        order = EpochOrder(shards, size, seed=config.train.seed, shares=shares, questions=questions)
        return order, make_loader(clips, order, workers=config.data.workers)
    workers = possible_workers(config.data.workers) if stream_workers is None else stream_workers
    streams = Streams(
        batch_size=size,
        rank=rank,
        processes=shares.total // shares.own,
        workers=max(workers, 1),
        parts=shares.own,
        buffer=config.data.shuffle_buffer,
        seed=config.train.seed,
    )
    return _streamed(clips, shards, streams, questions=questions, workers=workers)


def scoring_batches(
    clips: ClipDataset, config: RunConfig, *, batch_size: int, rank: int, world: int
) -> tuple[ScoringOrder | StreamOrder, DataLoader[Any]]:
    """The order in which a split is scored, and the loader of its batches of `batch_size` clips."""
    if config.data.read == "indexed":
        order = ScoringOrder(len(clips), batch_size, rank=rank, world=world)
        return order, make_loader(clips, order, workers=config.data.workers)
    workers = possible_workers(config.data.workers)
    shards = [place.shard for place in clips.places]
    streams = Streams(batch_size * world, rank, world, max(workers, 1), padded=False)
    return _streamed(clips, shards, streams, questions=None, workers=workers)


def _streamed(
    clips: ClipDataset,
    shards: list[str],
    streams: Streams,
    *,
    questions: npt.NDArray[np.int64] | None,
    workers: int,
) -> tuple[StreamOrder, DataLoader[Any]]:
    from .streaming import StreamedClips, make_stream

    if not isinstance(clips, StreamedClips):
        raise TypeError(f"clips are a {type(clips).__name__}, must be those of open_clips")
    order = StreamOrder(shards, streams, questions=questions)
    return order, make_stream(clips, order, workers=workers)


def stream_shape(data: DataConfig, here: World) -> dict[str, int] | None:
    """Return the numbers that change the order of streamed clips; None where clips are not streamed.

    They are the same in every process, whose machines may have room for different numbers of workers.
    """
    if data.read == "indexed":
        return None
    room = here.gather([float(possible_workers(data.workers))])
    return {"processes": here.size, LOADER_PROCESSES: int(room.min())}
