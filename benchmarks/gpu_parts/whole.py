"""Part `whole`: `train` on shards against its step alone; idle time, copies and waits of a step."""

from __future__ import annotations

import json
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from gpu_parts.common import Report, Setting, synchronize
from gpu_parts.shards import make_shards
from gpu_parts.trace import account
from stgcma.model import build_model
from stgcma.model.frozen_precision import cast_frozen
from stgcma.train.batch import batches, make_loader
from stgcma.train.config import RunConfig, architecture, load_preset
from stgcma.train.data import ClipDataset, open_task
from stgcma.train.objective import DTYPES, Objective
from stgcma.train.optim import make_optimizer
from stgcma.train.order import EpochOrder
from stgcma.train.run import train
from torch.optim.optimizer import register_optimizer_step_post_hook

PRESET = "ave-clip-b16-base"
WORKERS = (16, 4, 1)
# With each number of workers: measured so long, after so many steps of warm-up.
MEASURED_SECONDS, WARM_UP_STEPS = 18.0, 5
PROFILED_STEPS = 20


def run(setting: Setting, report: Report) -> None:
    """Adds a row for the step alone, one for each number of workers, and what the profiler saw."""
    measured = 0.1 if setting.tiny else MEASURED_SECONDS
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        clips = (8, 1) if setting.tiny else (400, 8)
        shards = str(make_shards(folder / "shards", train=clips[0], others=clips[1]))
        alone = report.attempt("step alone", lambda: _step_alone(shards, _config(setting, workers=0)))
        for index, workers in enumerate((1,) if setting.tiny else WORKERS):
            report.attempt(
                f"train, {workers} workers",
                lambda w=workers: _train(shards, folder, setting, w, measured, alone),
            )
            if index == 0:
                report.attempt("profile of train", lambda: _profile(shards, folder, setting))


def _config(setting: Setting, *, workers: int) -> RunConfig:
    preset = "ave-demo" if setting.tiny else PRESET
    chosen = [
        *setting.model_settings(preset),
        "model.weights=null",
        f"data.workers={workers}",
        f"train.precision={'fp32' if setting.device == 'cpu' else 'bf16'}",
        "train.save_every_steps=1000000",
        "optim.epochs=1000",
    ]
    return load_preset(preset, chosen)


def _step_alone(shards: str, config: RunConfig) -> dict[str, Any]:
    """Steps on one batch that lies on the device already, by the training's own objective and optimiser."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    task = open_task(shards)
    options = task.model_options() | architecture(config)
    model = build_model(config.preset, "random", **options).to(device).train()
    cast_frozen(model, DTYPES[config.train.precision], keep=False)
    dataset = ClipDataset(shards, "train", task, config.data, model.config, seed=0)
    size = config.optim.batch_size
    order = EpochOrder(dataset.places.shards, size, seed=0)
    batch = next(batches(make_loader(dataset, order, workers=0))).to(torch.device(device))
    dataset.close()
    objective = Objective(model, task, config.loss, config.train.precision)
    optimizer = make_optimizer(model, config.optim)
    counts = task.counts(batch.targets, batch.weight)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        objective.total(objective(batch.inputs, batch.targets, batch.weight).losses, counts).backward()
        optimizer.step()

    for _ in range(3):
        step()
    seconds = []
    for _ in range(10):
        synchronize(device)
        started = time.perf_counter()
        step()
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    middle = statistics.median(seconds)
    return {"preset": config.preset, "batch": size, "seconds": middle, "clips_per_second": size / middle}


@contextmanager
def _after_each_step(call: Callable[[], None]) -> Iterator[None]:
    handle = register_optimizer_step_post_hook(lambda *_: call())
    try:
        yield
    finally:
        handle.remove()


def _until_stopped(shards: str, run: Path, config: RunConfig, after_step: Callable[[], bool]) -> None:
    """Trains until `after_step` answers True; the training then stops as it does after SIGTERM."""
    stopping = False

    def call() -> None:
        nonlocal stopping
        # The training does one more step before it stops, and a second signal would end the process.
        if not stopping and after_step():
            stopping = True
            os.kill(os.getpid(), signal.SIGTERM)

    with _after_each_step(call):
        try:
            train(shards, run, config)
        except SystemExit as stopped:
            if stopped.code != 128 + signal.SIGTERM:
                raise


def _train(
    shards: str, folder: Path, setting: Setting, workers: int, measured: float, alone: dict[str, Any] | None
) -> dict[str, Any]:
    times: list[float] = []

    def after_step() -> bool:
        times.append(time.perf_counter())
        return len(times) > WARM_UP_STEPS and times[-1] - times[WARM_UP_STEPS - 1] > measured

    config = _config(setting, workers=workers)
    _until_stopped(shards, folder / f"run-{workers}", config, after_step)
    steps = len(times) - WARM_UP_STEPS
    rate = steps * config.optim.batch_size / (times[-1] - times[WARM_UP_STEPS - 1])
    share = None if alone is None else 1 - rate / alone["clips_per_second"]
    return {"workers": workers, "steps": steps, "clips_per_second": rate, "loader_share": share}


def _profile(shards: str, folder: Path, setting: Setting) -> dict[str, Any]:
    steps = 3 if setting.tiny else PROFILED_STEPS
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if setting.device == "cuda" else []
    schedule = torch.profiler.schedule(wait=2, warmup=2, active=steps, repeat=1)
    trace = folder / "trace.json"
    done = 0
    with torch.profiler.profile(
        activities=kinds, schedule=schedule, on_trace_ready=lambda p: p.export_chrome_trace(str(trace))
    ) as profiler:

        def after_step() -> bool:
            nonlocal done
            done += 1
            profiler.step()
            return done >= steps + 5

        _until_stopped(
            shards,
            folder / "run-profiled",
            _config(setting, workers=1 if setting.tiny else WORKERS[0]),
            after_step,
        )
    return account(json.loads(trace.read_text())["traceEvents"])
