"""An evaluation forward pass, against a floor: its operations at the rate of large matrix products."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measurement import Figure, in_turns
from stgcma.model import build_model, describe
from training_step import make_inputs

PRESETS = ("ave-clip-b16-base", "ave-swin-b-base", "avs-swin-b", "avqa-swin-b")
SIDE = {"cpu": 2048, "cuda": 8192}


def figures(scratch: Path, *, quick: bool) -> list[Figure]:  # noqa: ARG001 (as the others)
    """Seconds of a forward pass in bf16 on a GPU, in fp32 on a CPU, where nothing is promised."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    presets = PRESETS if device == "cuda" else PRESETS[:1]
    rounds = 1 if quick else 3
    return [compare(preset, device, rounds) for preset in presets]


def compare(preset: str, device: str, rounds: int) -> Figure:
    """The figure of one preset on `device`."""
    clips, dtype = (8, torch.bfloat16) if device == "cuda" else (1, torch.float32)
    model = build_model(preset, "random").to(device).eval()
    inputs = {name: x for name, x in make_inputs(model.config, clips, device).items() if name != "negative"}
    operations = 1e9 * describe(preset).forward_gflops * clips
    a, b = (torch.randn(SIDE[device], SIDE[device], device=device, dtype=dtype) for _ in range(2))

    def forward() -> None:
        with torch.inference_mode(), torch.autocast(device, dtype, enabled=dtype != torch.float32):
            model(**inputs)

    def floor() -> float:
        return operations / (2 * SIDE[device] ** 3 / _seconds(lambda: a @ b, device))

    spent = in_turns(rounds, lambda: _seconds(forward, device), floor)
    name = f"evaluation forward on {'a GPU' if device == 'cuda' else 'a CPU'}, {preset}"
    target = 2.0 if device == "cuda" else None
    note = f"{clips} clips, {str(dtype).removeprefix('torch.')}; {operations / clips / 1e9:,.0f} GFLOP a clip"
    return Figure(
        name, "s", "its operations at the rate of a large matrix product", *spent, target, note=note
    )


def _seconds(run: Callable[[], object], device: str) -> float:
    repeats = 10 if device == "cuda" else 2
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])
