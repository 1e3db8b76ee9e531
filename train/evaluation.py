"""Scoring a model on a split of the shards."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from ..console import message, progress
from ..errors import InputError
from ..model import STGCMA
from ..model.frozen_precision import cast_frozen
from ..shards.schema import DatasetInfo
from ..shards.storage import Location
from .batch import Batch, batches
from .data import open_task
from .distributed import ProcessGroup, is_main_process, process_group
from .loading import open_clips, scoring_batches
from .memory import memory_explained, scoring_advice
from .objective import DTYPES, run_model, set_tf32
from .results import TOLERANCE, EvaluationResult, read_evaluation
from .run_folder import RunFolder
from .tasks.base import Meter, Task, Tensors
from .trained import Trained, open_trained
from .unseen import unseen_additions
from .workers import lost_workers_named


def outputs(
    model: STGCMA, task: Task, loader: DataLoader[Any], device: torch.device, precision: str = "fp32"
) -> Iterator[tuple[Batch, Tensors]]:
    """Yield each batch with the outputs that `task` scores, on the CPU; half precision becomes float32."""
    model.eval()
    with torch.inference_mode():
        for batch in batches(loader):
            made = task.scored(run_model(model, batch.to(device).inputs, precision))
            yield (
                batch,
                {
                    name: tensor.float().cpu() if tensor.is_floating_point() else tensor.cpu()
                    for name, tensor in made.items()
                },
            )


def score(
    model: STGCMA,
    task: Task,
    loader: DataLoader[Any],
    group: ProcessGroup,
    precision: str,
    *,
    bar: Any = None,
) -> Meter:
    """Count the model's outputs over the batches of this process and of all other processes.

    Rows of the meter are in the order of the manifest, however clips are divided among processes and workers.

    `bar` is called with the number of clips after every batch.
    """
    meter = task.meter()
    clips: list[int] = []
    for batch, made in outputs(model, task, loader, group.device, precision):
        meter.update(made, batch.targets)
        clips += batch.clips
        if bar is not None:
            bar(len(batch.keys))
    for name, counts in meter.counts.items():
        total = group.sum(counts.ravel().tolist())
        meter.counts[name] = np.asarray(total).reshape(counts.shape)
    for name, rows in meter.rows.items():
        meter.rows[name] = [group.join_rows(np.concatenate(rows), np.array(clips, dtype=np.int64))]
    return meter


def evaluate(
    path: str | Path,
    *,
    split: str = "test",
    shards: Location | None = None,
    preset: str | None = None,
    weights: str | Path | None = None,
) -> EvaluationResult:
    """Score a run's best checkpoint, or a checkpoint folder, on `split`.

    The result is written to the run folder. A score that the run folder already holds for the same checkpoint
    and clips stays there, and the result compares itself with it in `stored`; where the two agree and the
    stored evaluation lacks scores, being of an earlier version, the new one replaces it. For a checkpoint
    folder nothing is written.

    Args:
        path: a run folder or a checkpoint folder.
        split: of the shards.
        shards: in place of the directory that the run was trained on; a checkpoint folder needs them.
        preset: of a checkpoint folder that does not say what it was trained on.
        weights: where the backbone's weights are, if not where the checkpoint says.

    Raises InputError for a folder, shards or a preset that do not fit; StgcmaError when memory runs out.
    """
    trained = open_trained(path, preset=preset, shards=shards, weights=weights)
    folder = shards if shards is not None else _shards_of(trained)
    task = open_task(folder)
    task.check_model(trained.model.config, where=str(folder))
    for what in ("classes", "vocabulary"):
        if getattr(task.info, what) != getattr(trained.info, what):
            raise InputError(f"{folder} has other {what} than {path} was trained on, or in another order")
    if trained.run is not None and is_main_process():
        unseen = unseen_additions(trained.info, task.info)
        if unseen is not None:
            message(f"{path} has not seen {unseen} of its shards")
    result, info = _score_split(trained, task, folder, split)
    if trained.run is None:
        return result
    # Shards of the same plan and settings count as the same: another machine's bytes may differ.
    suffix = "" if info.fingerprint == trained.info.fingerprint else f"-{info.fingerprint[:12]}"
    name = f"evaluation-{split}{suffix}.json"
    return _compare_or_write(trained.run, name, result, write=is_main_process())


def _lacks(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return True when `wanted` has a key, at any depth, that `stored` does not have."""
    for key, value in wanted.items():
        if key not in stored:
            return True
        if isinstance(value, Mapping) and (
            not isinstance(stored[key], Mapping) or _lacks(stored[key], value)
        ):
            return True
    return False


def _shards_of(trained: Trained) -> Location:
    if trained.run is None:
        raise InputError(f"{trained.path} is a checkpoint: name the shards to score it on")
    folder: str = trained.run.read_json("run.json", texts=("shards",))["shards"]
    if not folder:
        raise InputError(
            f"RUN {trained.path} does not say where its shards are: name them with the option shards"
        )
    return folder


def _score_split(
    trained: Trained, task: Task, folder: Location, split: str
) -> tuple[EvaluationResult, DatasetInfo]:
    """Return the result on a split, and the description of the clips as the model reads them."""
    config, model = trained.config, trained.model
    dataset = open_clips(folder, split, task, config.data.of_all_clips(), model.config, measured=trained.info)
    with (
        lost_workers_named(),
        process_group() as group,
        closing(dataset),
        progress("clips", shown=group.is_main) as bar,
    ):
        if dataset.without_column and group.is_main:
            message(dataset.lacking)
        set_tf32(allowed=config.train.tf32)
        _, loader = scoring_batches(
            dataset, config, batch_size=config.optim.batch_size, rank=group.rank, world_size=group.size
        )
        row = bar.add_task(
            f"evaluate {split}", total=len(range(group.rank, len(dataset), group.size)), note=""
        )
        with memory_explained(
            f"scoring {config.optim.batch_size} clips at a time", group.device, scoring_advice
        ):
            model.to(group.device)
            cast_frozen(model, DTYPES[config.train.precision], keep=False)
            meter = score(
                model, task, loader, group, config.train.precision, bar=lambda clips: bar.advance(row, clips)
            )
        detail = meter.result()
        result = EvaluationResult(
            task=task.name,
            split=split,
            shards=str(folder),
            data_fingerprint=task.info.data_fingerprint,
            checkpoint_sha256=trained.sha256,
            clips=len(dataset),
            modality=model.config.modality,
            score_name=task.score_name,
            score=detail.score,
            detail=detail,
            baselines={
                name: value
                for name, value in task.baselines(folder, split).items()
                if not math.isnan(value)  # of an empty split
            },
            bounds=task.bounds(folder, split),
            # A checkpoint does not record the split that chose it.
            selected_on=config.train.select_on if trained.run is not None else None,
            machine=f"{platform.machine()}, {group.device.type}, torch {torch.__version__}",
        )
        return result, dataset.info


def _compare_or_write(
    run: RunFolder, name: str, result: EvaluationResult, *, write: bool
) -> EvaluationResult:
    stored = read_evaluation(run, name)
    if stored is not None and stored.clips == result.clips:
        # An earlier version computed fewer scores.
        agrees = math.isclose(stored.score, result.score, rel_tol=0, abs_tol=TOLERANCE)
        if write and agrees and _lacks(run.read_json(name), result.to_json()):
            run.write_json(name, result.to_json())
        return result.compared_with(stored)
    if write:
        run.write_json(name, result.to_json())
    return result
