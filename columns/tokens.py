"""The outputs of a frozen backbone as a column, for an adapter beside it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ..console import progress
from ..errors import InputError, StgcmaError
from ..model import STGCMA
from ..model.frozen_features import frozen_features, layout_of, pack, side_of
from ..model.inputs import normalise_frames
from ..model.noise import BatchSlice
from ..model.records import FRAME_MASK
from ..shards.column_writer import ColumnClip, write_column_shard
from ..shards.columns import ColumnShard
from ..shards.schema import MOST_CLIP_BYTES, SPLITS, ClipRecord, QuarantineRecord
from ..shards.storage import Location
from ..train.batch import Batch, Collate, UnreadableClip
from ..train.config import RunConfig
from ..train.data import ClipDataset, open_task
from ..train.distributed import pick_device
from ..train.order import ALL_QUESTIONS, Item
from ..train.run import new_model
from ..train.tokens import STORED_VIDEO, TOKENS, token_settings
from ..versions import package_versions
from .output import Added, ColumnOutput, open_column

_NO_SUMS = (0.0, 0.0, 0)


def add_tokens(location: Location, config: RunConfig, *, device: str = "auto", repair: bool = False) -> Added:
    """Add the outputs of the frozen backbone of `config`, which an adapter beside it reads, to all clips.

    They are computed without augmentation, and stored as float16. An interrupted call continues when it is
    repeated; a complete column is left as it is, and completed where the directory has grown.

    Args:
        location: the directory, a path or a URL.
        config: of the training that is to read them, with adapter `side`.
        device: `auto`, `cpu` or `cuda`.
        repair: compare every shard with its hashes, and make those again that are missing or damaged.

    Raises:
        InputError: for a configuration that does not fit, or a clip that takes more than 64 MB.
        StgcmaError: when a clip is damaged, or the directory cannot be written.
    """
    task = open_task(location)
    if task.name != config.task:
        raise InputError(f"{location} is made for {task.name}, preset {config.preset} trains {config.task}")
    chosen = pick_device(device)
    model = new_model(task, config).to(chosen).eval()
    data = config.data.of_all_clips().model_copy(update={"augment": False, "mixup": 0.0, "read": "indexed"})
    with open_column(location, TOKENS) as output:
        splits = dict.fromkeys(clip.split for clips in output.clips.values() for clip in clips)
        datasets = {split: ClipDataset(location, split, task, data, model.config) for split in splits}
        first = datasets[next(split for split in SPLITS if split in datasets)]
        maker = _Maker(output, model, datasets, config.optim.batch_size)
        settings = token_settings(model, first.normalisation) | {
            "layout": [[name, list(shape)] for name, shape in layout_of(maker.features(first, [0])[0])],
            "precision": maker.precision,
        }
        if task.needs_negatives:
            settings[STORED_VIDEO] = model.encoder.stored_video
        kept = output.begin(settings, package_versions("torch", "timm"), repair=repair)
        try:
            return output.complete(kept, maker)
        finally:
            for dataset in datasets.values():
                dataset.close()


class _Maker:
    """Makes the shards of a column from the clips of `datasets`, by split, `batch` clips at a time."""

    def __init__(
        self, output: ColumnOutput, model: STGCMA, datasets: dict[str, ClipDataset], batch: int
    ) -> None:
        self._output, self._model, self._batch = output, model, batch
        self._datasets = datasets
        self._index = {
            split: {place.key: index for index, place in enumerate(dataset.places)}
            for split, dataset in datasets.items()
        }

    @property
    def precision(self) -> str:
        """The number format that the backbone computes in."""
        device = next(self._model.parameters()).device
        with side_of(self._model.encoder).context(device):
            enabled = torch.is_autocast_enabled(device.type)
            return str(torch.get_autocast_dtype(device.type)).removeprefix("torch.") if enabled else "float32"

    def __call__(self, missing: dict[str, list[ClipRecord]]) -> Iterator[ColumnShard]:
        with progress("clips") as bar:
            total = sum(map(len, self._output.clips.values()))
            done = total - sum(map(len, missing.values()))
            row = bar.add_task(f"add {TOKENS}", total=total, completed=done, note="")
            for shard, clips in missing.items():
                index = self._index[clips[0].split]
                failed = tuple(
                    QuarantineRecord(clip.key, clip.source, "missing", "the column of its fbank lacks it")
                    for clip in clips
                    if clip.key not in index
                )
                there = [clip for clip in clips if clip.key in index]
                rows = write_column_shard(self._output.store.location, shard, self._clips(there))
                made = ColumnShard(shard, tuple(rows), failed)
                self._output.record(made)
                bar.advance(row, len(clips))
                yield made

    def _clips(self, clips: Sequence[ClipRecord]) -> Iterator[ColumnClip]:
        for first in range(0, len(clips), self._batch):
            part = clips[first : first + self._batch]
            index = self._index[part[0].split]
            found, steps = self.features(self._datasets[part[0].split], [index[clip.key] for clip in part])
            for number, clip in enumerate(part):
                kept = {name: x[number : number + 1, : steps[number]] for name, x in found.items()}
                values = pack(kept)[0].cpu().numpy()
                if not np.isfinite(values).all():
                    raise StgcmaError(f"{clip.key}: the backbone's outputs are beyond the range of float16")
                buffer = io.BytesIO()
                np.save(buffer, values, allow_pickle=False)
                content = buffer.getvalue()
                if len(content) > MOST_CLIP_BYTES:
                    raise InputError(
                        f"tokens of a clip take {len(content) >> 20} MB, at most {MOST_CLIP_BYTES >> 20} MB "
                        "are read; choose fewer layers or a smaller backbone"
                    )
                yield clip, {f"{TOKENS}.npy": content}, _NO_SUMS

    def features(
        self, dataset: ClipDataset, indices: Sequence[int]
    ) -> tuple[dict[str, torch.Tensor], list[int]]:
        """Return the features of clips of a split by their indices, `[B, T, …]` by name, and their frames."""
        batch = _batch_of(dataset, indices)
        mask = batch.inputs.get(FRAME_MASK)
        steps = [self._model.config.frames] * len(indices) if mask is None else mask.sum(1).tolist()
        device = next(self._model.parameters()).device
        record = self._model.config.backbone
        inputs = {
            name: normalise_frames(x, record.image_mean, record.image_std) if x.dtype == torch.uint8 else x
            for name, x in batch.to(device).inputs.items()
            if name in self._model.config.modalities
        }
        return frozen_features(self._model.encoder, inputs), steps


def _batch_of(dataset: ClipDataset, indices: Sequence[int]) -> Batch:
    clips = [dataset[Item(index, ALL_QUESTIONS, 0, 0, BatchSlice(0, 1, 1), True)] for index in indices]
    batch = Collate(dataset.task).collate(clips)
    if isinstance(batch, UnreadableClip):
        raise batch.error(batch.message)
    return batch
