"""Gradients that must not differ: in deterministic mode, and under DistributedDataParallel with one rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from gpu_parts.common import TINY_PRESETS, Setting
from gpu_parts.forked import config_of, in_child, tried
from stgcma.model import build_model
from stgcma.train.batch import batches, make_loader
from stgcma.train.data import ClipDataset, open_task
from stgcma.train.distributed import share_batch_norms
from stgcma.train.objective import Objective
from stgcma.train.order import EpochOrder
from training_step import make_inputs


def deterministic(setting: Setting, _shards: str, _folder: Path) -> dict[str, Any]:
    """Run one step of each task with `torch.use_deterministic_algorithms`, twice."""

    def gradients(preset: str) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = build_model(preset, "random", **setting.overrides(preset)).to(setting.device).train()
        inputs = make_inputs(model.config, 2, setting.device)
        loss = torch.stack([output.float().square().mean() for output in model(**inputs).values()]).sum()
        loss.backward()
        return [p.grad.cpu() for p in model.parameters() if p.grad is not None]

    def work(preset: str) -> bool:
        torch.use_deterministic_algorithms(True)
        pairs = zip(gradients(preset), gradients(preset), strict=True)
        return all(torch.equal(one, other) for one, other in pairs)

    told: dict[str, Any] = {}
    for preset in TINY_PRESETS:
        result = tried(lambda preset=preset: {"same": in_child(lambda: work(preset))})
        told[preset] = result.get("failed", result.get("same"))
    return {"ok": all(value is True for value in told.values()), **told}


def one_rank(setting: Setting, shards: str, folder: Path) -> dict[str, Any]:
    """Compare the gradients of a step with and without DistributedDataParallel and shared batch norms."""

    def gradients(*, wrapped: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        task, config = open_task(shards), config_of(setting)
        overrides = task.model_options() | setting.overrides("ave-demo")
        model = build_model("ave-demo", **overrides).to(setting.device).train()
        dataset = ClipDataset(shards, "train", task, config.data, model.config, seed=0)
        order = EpochOrder(dataset.places.shards, 2, seed=0)
        batch = next(batches(make_loader(dataset, order, workers=0))).to(torch.device(setting.device))
        objective = Objective(model, task, config.loss, "fp32")
        stepped: Any = objective
        if wrapped:
            share_batch_norms(model)
            devices = [0] if setting.device == "cuda" else None
            stepped = torch.nn.parallel.DistributedDataParallel(
                objective, device_ids=devices, broadcast_buffers=False
            )
        torch.manual_seed(1)
        terms = stepped(batch.inputs, batch.targets, batch.weight)
        objective.total(terms.losses, task.counts(batch.targets, batch.weight)).backward()
        return [p.grad.cpu() for p in model.parameters() if p.grad is not None]

    def work() -> dict[str, Any]:
        backend = "nccl" if setting.device == "cuda" else "gloo"
        torch.distributed.init_process_group(
            backend, init_method=f"file://{folder / 'store'}", rank=0, world_size=1
        )
        texts: list[Any] = [None]
        torch.distributed.all_gather_object(texts, ["a clip's key"])
        pairs = list(zip(gradients(wrapped=True), gradients(wrapped=False), strict=True))
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
        largest = max(float((one - other).abs().max()) for one, other in pairs)
        return {
            "ok": largest < 1e-5 and texts == [["a clip's key"]],
            "backend": backend,
            "difference": largest,
        }

    return dict(in_child(work))
