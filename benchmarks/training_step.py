"""Time and peak memory of a training step, against the naive formulation with the same weights; and of the
adapter `side` against STG-CMA.

Each measurement is a process of its own, the sides taking turns. On a CPU, memory is that of the first step:
the highest resident size less the resident size right before it, so that weights and libraries do not count.
Both sides run under the allocator setting that building a model makes (`stgcma.model.allocator`), so resident
is what is live. Time is that of the second step. On a GPU, memory is what torch allocates for a step beyond
what lies there before it, and time is the median of ten steps after three.

    python benchmarks/training_step.py PRESET SIDE DEVICE    # one measurement, as JSON

where SIDE is `naive`, `stgcma`, or an adapter's name in its place.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measurement import Figure, in_turns, measured_apart, of_both, resident_bytes

PRESETS = {"ave": "ave-swin-b-base", "avs": "avs-swin-b", "avqa": "avqa-swin-b"}
QUICK = {"ave": "ave-demo", "avs": "avs-demo"}
MEMORY_TARGETS = {"ave": 0.65, "avs": 0.5, "avqa": 0.5}
TIME_TARGETS = {"cpu": 0.8, "cuda": 0.5}
# With the adapter `side`, no gradient runs through the backbone.
SIDE_PRESET, SIDE_QUICK = "ave-clip-b16-base", "ave-demo"
SIDE_TIME, SIDE_MEMORY = 0.45, 0.35


def figures(scratch: Path, *, quick: bool) -> list[Figure]:  # noqa: ARG001 (as the others)
    """Seconds and peak bytes of a step of one clip (on a GPU: of four), full size unless `quick`."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    made = []
    for task, preset in (QUICK if quick else PRESETS).items():
        runs = in_turns(
            1 if quick else 3 if device == "cuda" else 2,
            lambda preset=preset: measured_apart(__file__, preset, "stgcma", device),
            lambda preset=preset: measured_apart(__file__, preset, "naive", device),
        )
        what = f"training step on {'a GPU' if device == 'cuda' else 'a CPU'}, {preset}"
        baseline = "the naive formulation, same weights"

        # The demos' few narrow layers are no measure of what is promised for the full size.
        times, memory = (None, None) if quick else (TIME_TARGETS[device], MEMORY_TARGETS[task])
        made.append(Figure(f"{what}: time", "s", baseline, *of_both(runs, "seconds"), times))
        made.append(Figure(f"{what}: peak memory", "MiB", baseline, *of_both(runs, "bytes", 2**-20), memory))
    return made + beside(device, quick=quick)


def beside(device: str, *, quick: bool) -> list[Figure]:
    """Seconds and peak bytes of a step with the adapter `side`, against one with STG-CMA."""
    preset = SIDE_QUICK if quick else SIDE_PRESET
    runs = in_turns(
        1 if quick else 2,
        lambda: measured_apart(__file__, preset, "side", device),
        lambda: measured_apart(__file__, preset, "stgcma", device),
    )
    what = f"training step on {'a GPU' if device == 'cuda' else 'a CPU'}, {preset} with the adapter side"
    times, memory = (None, None) if quick or device == "cuda" else (SIDE_TIME, SIDE_MEMORY)
    return [
        Figure(f"{what}: time", "s", "the adapter stg-cma", *of_both(runs, "seconds"), times),
        Figure(f"{what}: peak memory", "MiB", "the adapter stg-cma", *of_both(runs, "bytes", 2**-20), memory),
    ]


def make_inputs(config: object, clips: int, device: str) -> dict[str, torch.Tensor]:
    """Random inputs of `clips` clips, in the shapes that a configuration wants."""
    made = {}
    for name, shape in config.input_shapes(clips).items():  # type: ignore[attr-defined]
        words = name == "question"
        made[name] = (torch.zeros(shape, dtype=torch.int64) if words else torch.randn(shape)).to(device)
    return made


def step_of(preset: str, side: str, device: str, **overrides: int) -> Callable[[], None]:
    """A training step of a preset with random weights; `overrides` change its configuration."""
    from naive import naive_forward
    from stgcma.model import build_model

    torch.manual_seed(0)
    adapter = {} if side in ("naive", "stgcma") else {"adapter": side}
    model = build_model(preset, "random", **overrides, **adapter).to(device).train()
    inputs = make_inputs(model.config, 4 if device == "cuda" else 1, device)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-4)

    def step() -> None:
        outputs = naive_forward(model, **inputs) if side == "naive" else model(**inputs)
        torch.stack([output.float().square().mean() for output in outputs.values()]).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def on_cpu(step: Callable[[], None]) -> dict[str, float]:
    """Peak resident bytes beyond those before, of the first step; seconds of the second."""
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    before = resident_bytes("VmRSS")
    step()
    peak = resident_bytes("VmHWM") - before
    started = time.perf_counter()
    step()
    return {"bytes": peak, "seconds": time.perf_counter() - started}


def on_gpu(step: Callable[[], None]) -> dict[str, float]:
    """Peak allocated bytes beyond those before, and the median seconds of ten steps."""
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    seconds = []
    for _ in range(10):
        started = time.perf_counter()
        step()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return {"bytes": torch.cuda.max_memory_allocated() - before, "seconds": statistics.median(seconds)}


if __name__ == "__main__":
    _preset, _side, _device = sys.argv[1:]
    measure = on_gpu if _device == "cuda" else on_cpu
    print(json.dumps(measure(step_of(_preset, _side, _device))))
