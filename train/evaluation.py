"""Scoring a model on a split of the shards."""

from __future__ import annotations

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
from ..model import STGCMA, load_model
from ..shards.storage import Location
from .baselines import baselines
from .data import Batch, batches, open_task
from .distributed import World, world
from .loading import open_clips, scoring_batches
from .memory import memory_explained, scoring_advice
from .objective import run_model, set_tf32
from .run_folder import RunFolder
from .tasks import Meter, Task, Tensors
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


def evaluate(run_path: Path, *, split: str = "test", shards: Location | None = None) -> dict[str, Any]:
    """Scores the run's chosen checkpoint on `split`, and keeps the result in the run folder.

    `shards` takes the place of the directory that the run was trained on. A score that the run folder holds
    already for the same checkpoint and clips stays there, and the result says under `stored`
    whether it was met.
    """
    run = RunFolder.open(run_path)
    config = run.read_config()
    folder = shards if shards is not None else run.read_json("run.json", texts=("shards",))["shards"]
    task = open_task(folder)
    checkpoint = run.best_sha256()
    model = load_model(run.best)
    task.check_model(model.config, where=str(folder))
    trained_on = run.read_dataset()
    for what in ("classes", "vocabulary"):
        if getattr(task.info, what) != getattr(trained_on, what):
            raise InputError(f"{folder} has other {what} than {run_path} was trained on, or in another order")
    dataset = open_clips(folder, split, task, config.data, model.config, measured=trained_on)
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
        result = {
            "task": task.name,
            "split": split,
            "shards": str(folder),
            "data_fingerprint": task.info.data_fingerprint,
            "checkpoint_sha256": checkpoint,
            "clips": len(dataset),
            "modality": model.config.modality,
            "score_name": task.score_name,
            "score": meter.score(),
            **meter.summary(),
            "baselines": baselines(task, folder, split),
            "selected_on": config.train.select_on,
            "machine": f"{platform.machine()}, {here.device.type}, torch {torch.__version__}",
        }
        # Of the same plan and settings, not only of the same bytes: shards that another machine made count.
        same = task.info.fingerprint == trained_on.fingerprint
        place = "" if same else f"-{task.info.fingerprint[:12]}"
        return _compare_and_keep(run, f"evaluation-{split}{place}.json", result, write=here.leads)


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
