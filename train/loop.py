"""`stgcma train`: adapters and head on streamed shards, the backbone frozen."""

from __future__ import annotations

import math
import platform
import resource
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import nn

from ..console import message, progress
from ..errors import InputError, StgcmaError
from ..model import STGCMA, build_model, save_checkpoint
from ..shards.manifest import read_dataset
from ..versions import package_versions
from .config import OptimConfig, RunConfig
from .data import ClipDataset, make_loader
from .evaluation import forward, pick_device, score
from .run_folder import RunFolder
from .schedule import learning_rate


@dataclass(frozen=True)
class TrainSummary:
    """What a training run came to. Accuracies are shares of seconds right, on the selection split."""

    epochs: int
    best_epoch: int
    best_accuracy: float
    trainable_parameters: int
    total_parameters: int
    clips_per_second: float
    peak_memory_bytes: int
    seconds: float


def train(shards: Path, run_path: Path, config: RunConfig, *, overwrite: bool = False) -> TrainSummary:
    """Trains on `shards` as `config` says; everything it makes lies in the run folder.

    Raises InputError for shards that do not fit, StgcmaError when the loss is not finite.
    """
    info = read_dataset(shards)
    if info.task != config.task:
        raise InputError(f"{shards} is made for {info.task}, preset {config.preset} trains {config.task}")
    device = pick_device()
    torch.manual_seed(config.train.seed)
    options = {
        "classes": len(info.classes),
        "frames": info.features["sampling"]["frames"],
        "checkpointing": config.train.checkpointing,
        **config.model,
    }
    model = build_model(config.preset, **options)
    model.to(device)
    training = ClipDataset(shards, "train", config.data, audio_shape=model.config.audio_shape)
    selection = ClipDataset(shards, config.train.select_on, config.data, audio_shape=model.config.audio_shape)
    run = RunFolder.create(run_path, overwrite=overwrite)
    run.write_config(config)
    run.write_json(
        "run.json", {"shards": str(shards.resolve()), "data_fingerprint": info.fingerprint, **_about(model)}
    )
    with progress("clips") as bar, closing(training), closing(selection):
        return _Trainer(model, config, run, training, selection, device).fit(bar)


class _Trainer:
    """The state of one run, and its epochs."""

    def __init__(
        self,
        model: STGCMA,
        config: RunConfig,
        run: RunFolder,
        training: ClipDataset,
        selection: ClipDataset,
        device: torch.device,
    ) -> None:
        self.model, self.config, self.run, self.device = model, config, run, device
        self.classes = len(training.info.classes)
        size, workers = config.optim.batch_size, config.data.workers
        self.loader, self.order = make_loader(training, size, seed=config.train.seed, workers=workers)
        self.selection, _ = make_loader(selection, size, seed=None, workers=workers)
        self.clips = len(training)
        self.optimizer = make_optimizer(model, config.optim)
        self.step = 0
        self.best: tuple[int, float] | None = None
        self.training_seconds = 0.0

    def fit(self, bar: Progress) -> TrainSummary:
        """Runs all epochs, keeping the newest checkpoint and the best one."""
        started = time.monotonic()
        epochs = self.config.optim.epochs
        for epoch in range(epochs):
            row = bar.add_task(f"epoch {epoch + 1}/{epochs}", total=self.clips, note="")
            before = time.monotonic()
            loss, accuracy = self._train_epoch(epoch, bar, row)
            self.training_seconds += time.monotonic() - before
            chosen = score(
                self.model, self.selection, self.model.config.modality, self.device, classes=self.classes
            ).accuracy()
            self._keep(epoch, loss, accuracy, chosen)
            split = self.config.train.select_on
            note = f"loss {loss:.3f} · train {accuracy:.1%} · {split} {chosen:.1%}"
            bar.update(row, note=note)
            if not bar.console.is_terminal:
                message(f"epoch {epoch + 1}/{epochs}: {note}")
        if self.best is None:
            raise StgcmaError("no epoch was trained")
        counts = _about(self.model)
        return TrainSummary(
            epochs=epochs,
            best_epoch=self.best[0],
            best_accuracy=self.best[1],
            trainable_parameters=counts["trainable_parameters"],
            total_parameters=counts["total_parameters"],
            clips_per_second=self.clips * epochs / self.training_seconds,
            peak_memory_bytes=_peak_memory_bytes(self.device),
            seconds=time.monotonic() - started,
        )

    def _train_epoch(self, epoch: int, bar: Progress, row: Any) -> tuple[float, float]:
        """One pass over the training clips. Returns mean loss and share of seconds right."""
        self.model.train()
        self.order.set_epoch(epoch)
        total, right, seconds = 0.0, 0, 0
        for batch in self.loader:
            rates = self._set_learning_rates()
            batch = batch.to(self.device)
            logits = forward(self.model, batch, self.model.config.modality)
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten())
            value = float(loss.detach())
            if not math.isfinite(value):
                raise StgcmaError(
                    f"the loss is {value} at step {self.step}, on the clips {', '.join(batch.keys)}"
                )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.step += 1
            total += value * batch.labels.numel()
            right += int((logits.argmax(-1) == batch.labels).sum())
            seconds += batch.labels.numel()
            bar.update(row, advance=len(batch.keys), note=f"loss {value:.3f} · lr {rates['adapter']:.1e}")
        return total / seconds, right / seconds

    def _set_learning_rates(self) -> dict[str, float]:
        optim = self.config.optim
        rates = {}
        for group in self.optimizer.param_groups:
            group["lr"] = rates[group["name"]] = learning_rate(
                self.step,
                peak=group["peak_lr"],
                minimum=optim.minimal_lr,
                warmup_steps=optim.warmup_epochs * len(self.loader),
                total_steps=optim.epochs * len(self.loader),
            )
        return rates

    def _keep(self, epoch: int, loss: float, accuracy: float, chosen: float) -> None:
        split = self.config.train.select_on
        row = {"epoch": epoch + 1, "step": self.step, "loss": loss, "train_accuracy": accuracy}
        rates = {f"{group['name']}_lr": group["lr"] for group in self.optimizer.param_groups}
        self.run.append_metrics({**row, f"{split}_accuracy": chosen, **rates})
        save_checkpoint(self.model, self.run.last, backbone_folder=self.run.path)
        if self.best is None or chosen > self.best[1]:
            self.best = (epoch + 1, chosen)
            save_checkpoint(self.model, self.run.best, backbone_folder=self.run.path)


def make_optimizer(model: STGCMA, optim: OptimConfig) -> torch.optim.Adam:
    """Adam with the model's two parameter groups, each with the peak of its learning rate."""
    peaks = {"adapter": optim.adapter_lr, "head": optim.task_lr}
    groups = [
        {"params": list(parameters.values()), "name": name, "peak_lr": peaks[name]}
        for name, parameters in model.parameter_groups().items()
    ]
    return torch.optim.Adam(groups, lr=0.0, betas=optim.betas, weight_decay=optim.weight_decay)


def _about(model: STGCMA) -> dict[str, Any]:
    return {
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "total_parameters": sum(p.numel() for p in model.parameters()),
        "backbone": model.backbone_source,
        "versions": {"python": platform.python_version()} | package_versions("torch", "timm", "numpy"),
    }


def _peak_memory_bytes(device: torch.device) -> int:
    """The most memory this process held: of the GPU when there is one, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024
