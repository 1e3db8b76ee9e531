"""Scoring a model on a split of the shards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from ..console import progress
from ..errors import InputError
from ..model import STGCMA, load_model
from .data import Batch, ClipDataset, make_loader
from .metrics import Labels, SecondsAccuracy
from .run_folder import RunFolder


def forward(model: STGCMA, batch: Batch, modality: str) -> torch.Tensor:
    """The model's logits `[B, T, C]` for a batch, from the inputs that its modality takes."""
    inputs = {}
    if modality != "audio":
        inputs["video"] = batch.video
    if modality != "video":
        inputs["audio"] = batch.audio
    logits: torch.Tensor = model(**inputs)["logits"]
    return logits


def predictions(
    model: STGCMA, loader: DataLoader[Any], modality: str, device: torch.device
) -> Iterator[tuple[Batch, torch.Tensor]]:
    """Each batch with its class probabilities `[B, T, C]`, on the CPU."""
    model.eval()
    with torch.inference_mode():
        for batch in loader:
            logits = forward(model, batch.to(device), modality)
            yield batch, logits.float().softmax(-1).cpu()


def score(
    model: STGCMA, loader: DataLoader[Any], modality: str, device: torch.device, *, classes: int
) -> SecondsAccuracy:
    """The accuracy of `model` over all batches of `loader`."""
    metric = SecondsAccuracy(classes)
    for batch, probabilities in predictions(model, loader, modality, device):
        metric.update(probabilities.argmax(-1).numpy(), batch.labels.numpy())
    return metric


def evaluate(run_path: Path, *, split: str = "test", shards: Path | None = None) -> dict[str, Any]:
    """Scores the run's chosen checkpoint on `split`, and keeps the result in the run folder.

    `shards` takes the place of the directory that the run was trained on; it must hold the same classes.
    """
    run = RunFolder.open(run_path)
    config = run.read_config()
    folder = shards if shards is not None else Path(run.read_json("run.json")["shards"])
    device = pick_device()
    model = load_model(run.best)
    model.to(device)
    dataset = ClipDataset(folder, split, config.data, audio_shape=model.config.audio_shape)
    classes = dataset.info.classes
    if len(classes) != model.config.classes:
        raise InputError(
            f"{folder} has {len(classes)} classes, the model of {run_path} has {model.config.classes}"
        )
    loader, _ = make_loader(dataset, config.optim.batch_size, seed=None, workers=config.data.workers)
    metric = SecondsAccuracy(len(classes))
    with progress("clips") as bar, closing(dataset):
        row = bar.add_task(f"evaluate {split}", total=len(dataset), note="")
        for batch, probabilities in predictions(model, loader, model.config.modality, device):
            metric.update(probabilities.argmax(-1).numpy(), batch.labels.numpy())
            bar.advance(row, len(batch.keys))
    result = {
        "split": split,
        "shards": str(folder),
        "clips": len(dataset),
        "modality": model.config.modality,
        **metric.summary(classes),
        "majority": majority_baseline(metric.confusion, classes),
    }
    run.write_json(f"evaluation-{split}.json", result)
    return result


def majority_baseline(confusion: Labels, classes: tuple[str, ...]) -> dict[str, Any]:
    """What always answering the split's most frequent class would score."""
    seconds = confusion.sum(axis=1)
    most = int(seconds.argmax())
    return {"class": classes[most], "accuracy": float(seconds[most] / seconds.sum())}


def pick_device() -> torch.device:
    """The GPU when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
