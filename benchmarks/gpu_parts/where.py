"""Part `where`: the costliest kernels and operators of the slowest preset in training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from gpu_parts.common import TABLE_9_BATCH, Report, Setting, synchronize
from gpu_parts.step import Bench, Cell

# Where no step was measured: most operations a step of Table 9.
SLOWEST = "avqa-swin-l"
STEPS, LISTED = 3, 10


def run(setting: Setting, report: Report) -> None:
    """Adds a row with both tables."""
    report.attempt("costliest kernels and operators", lambda: _tables(setting))


def slowest(step_file: Path) -> str:
    """The preset with the longest eager bf16 step among the rows of the part `step`."""
    if not step_file.is_file():
        return SLOWEST
    rows = json.loads(step_file.read_text())["rows"]
    seconds = {
        row["name"].partition(",")[0]: row["seconds"]
        for row in rows
        if ", bf16, eager, " in row["name"] and row["name"].endswith("stgcma") and "seconds" in row
    }
    return max(seconds, key=seconds.__getitem__) if seconds else SLOWEST


def _tables(setting: Setting) -> dict[str, Any]:
    preset = "ave-demo" if setting.tiny else slowest(setting.out / "step.json")
    batch = TABLE_9_BATCH[preset.partition("-")[0]]
    bench = Bench(setting, {}, preset)
    step = bench.step(Cell(preset, "bf16", "eager", batch))
    for _ in range(2):
        step()
    synchronize(setting.device)
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if setting.device == "cuda" else []
    with torch.profiler.profile(activities=kinds) as profiler:
        for _ in range(STEPS):
            step()
        synchronize(setting.device)
    averages = profiler.key_averages()
    on_gpu = torch.autograd.DeviceType.CUDA
    kernels = [event for event in averages if event.device_type == on_gpu]
    operators = [event for event in averages if event.device_type != on_gpu]
    key = "self_device_time_total" if setting.device == "cuda" else "self_cpu_time_total"
    return {
        "preset": preset,
        "batch": batch,
        "precision": "bf16",
        "kernels": _costliest(kernels, "self_device_time_total"),
        "operators": _costliest(operators, key),
    }


def _costliest(events: list[Any], key: str) -> list[dict[str, Any]]:
    total = sum(getattr(event, key) for event in events)
    ordered = sorted(events, key=lambda event: -getattr(event, key))[:LISTED]
    return [
        {
            "name": event.key[:160],
            "calls_a_step": event.count / STEPS,
            "milliseconds_a_step": getattr(event, key) / STEPS / 1000,
            "share": getattr(event, key) / total if total else 0.0,
        }
        for event in ordered
    ]
