"""Scoring a model on a split of the shards."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from ..console import progress
from ..errors import InputError
from ..model import STGCMA
from ..shards.storage import Location
from .baselines import baselines
from .data import Batch, batches, open_task
from .distributed import World, leads, world
from .loading import open_clips, scoring_batches
from .memory import memory_explained, scoring_advice
from .objective import run_model, set_tf32
from .run_folder import RunFolder
from .tasks import Meter, Task, Tensors
from .trained import Trained, open_trained
from .workers import lost_workers_named

# Another machine rounds otherwise; a score that is lower by more than this is another score.
TOLERANCE = 0.001


def outputs(
    model: STGCMA, loader: DataLoader[Any], device: torch.device, precision: str = "fp32"
) -> Iterator[tuple[Batch, Tensors]]:
    """Each batch with the model's outputs in float32, on the CPU."""
    model.eval()
    with torch.inference_mode():
        for batch in batches(loader):
            made = run_model(model, batch.to(device).inputs, precision)
            yield batch, {name: tensor.float().cpu() for name, tensor in made.items()}


def score(
    model: STGCMA, task: Task, loader: DataLoader[Any], here: World, precision: str, *, bar: Any = None
) -> Meter:
    """The counts of `model` over all batches of `loader`, and of the loaders of all other processes.

    `bar` is called with the number of clips after every batch.
    """
    meter = task.meter()
    for batch, made in outputs(model, loader, here.device, precision):
        meter.update(made, batch.targets)
        if bar is not None:
            bar(len(batch.keys))
    for name, counts in meter.counts.items():
        total = here.gather(counts.ravel().tolist()).sum(0)
        meter.counts[name] = np.asarray(total).reshape(counts.shape)
    return meter


def evaluate(
    path: Path,
    *,
    split: str = "test",
    shards: Location | None = None,
    preset: str | None = None,
    weights: str | Path | None = None,
) -> dict[str, Any]:
    """Scores a run's chosen checkpoint, or a checkpoint folder, on `split`.

    The result is kept in the run folder. A score that the run folder holds already for the same checkpoint
    and clips stays there, and the result says under `stored` whether it was met. Of a checkpoint folder
    nothing is kept.

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
    result = _score_split(trained, task, folder, split)
    if trained.run is None:
        return result
    # Of the same plan and settings, not only of the same bytes: shards that another machine made count.
    same = task.info.fingerprint == trained.info.fingerprint
    place = "" if same else f"-{task.info.fingerprint[:12]}"
    return _compare_and_keep(trained.run, f"evaluation-{split}{place}.json", result, write=leads())


def _shards_of(trained: Trained) -> Location:
    if trained.run is None:
        raise InputError(f"{trained.path} is a checkpoint: name the shards to score it on with --shards")
    folder: str = trained.run.read_json("run.json", texts=("shards",))["shards"]
    return folder


def _score_split(trained: Trained, task: Task, folder: Location, split: str) -> dict[str, Any]:
    config, model = trained.config, trained.model
    dataset = open_clips(folder, split, task, config.data, model.config, measured=trained.info)
    with lost_workers_named(), world() as here, closing(dataset), progress("clips", shown=here.leads) as bar:
        set_tf32(allowed=config.train.tf32)
        _, loader = scoring_batches(
            dataset, config, batch_size=config.optim.batch_size, rank=here.rank, world=here.size
        )
        row = bar.add_task(f"evaluate {split}", total=len(range(here.rank, len(dataset), here.size)), note="")
        with memory_explained(
            f"scoring {config.optim.batch_size} clips at a time", here.device, scoring_advice
        ):
            model.to(here.device)
            meter = score(
                model, task, loader, here, config.train.precision, bar=lambda clips: bar.advance(row, clips)
            )
        return {
            "task": task.name,
            "split": split,
            "shards": str(folder),
            "data_fingerprint": task.info.data_fingerprint,
            "checkpoint_sha256": trained.sha256,
            "clips": len(dataset),
            "modality": model.config.modality,
            "score_name": task.score_name,
            "score": meter.score(),
            **meter.summary(),
            "baselines": {
                name: share
                for name, share in baselines(task, folder, split).items()
                if not math.isnan(share)  # of nothing
            },
            # A checkpoint does not record the split that chose it.
            "selected_on": config.train.select_on if trained.run is not None else None,
            "machine": f"{platform.machine()}, {here.device.type}, torch {torch.__version__}",
        }


def _compare_and_keep(run: RunFolder, name: str, result: dict[str, Any], *, write: bool) -> dict[str, Any]:
    stored = run.read_evaluation(name)
    if stored is not None and stored["clips"] == result["clips"]:
        # A score of nothing, null in the file, is met by any.
        met = stored["score"] is None or bool(result["score"] >= stored["score"] - TOLERANCE)
        result["stored"] = {"score": stored["score"], "machine": stored["machine"], "met": met}
    elif write:
        run.write_json(name, result)
    return result


def score_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """An evaluation as rows of a table for a person: name and share."""

    def percent(share: float | None) -> str:
        return "–" if share is None else f"{share:.1%}"

    rows = [(name, percent(share)) for name, share in result.get("by_class", {}).items()]
    rows += [(name, percent(one["accuracy"])) for name, one in result.get("by_type", {}).items()]
    rows += [(f"all {name}", percent(share)) for name, share in result.get("by_modality", {}).items()]
    rows += [("F-score", percent(result["f_score"]))] if "f_score" in result else []
    rows += [(f"baseline: {name}", percent(share)) for name, share in result["baselines"].items()]
    return [*rows, (result["score_name"], percent(result["score"]))]
