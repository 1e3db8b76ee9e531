"""Time and peak memory of one training step, against the naive formulation with the same weights.

    python benchmarks/training_step.py ave-swin-b-base avs-swin-b [--rounds 3] [--checkpointing] [--json]

Each measurement is a process of its own, the sides taking turns. Memory is that of the first step: the
highest resident size less the resident size right before it, so that weights and libraries do not count. Both
sides run under the allocator setting that building a model makes (`stgcma.model.allocator`), so resident is
what is live. Time is that of the second step; CPU seconds are given too, because they suffer less from a busy
machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SIDES = ("naive", "stgcma", "stgcma+checkpointing")


def resident_bytes(field: str) -> int:
    """`VmRSS` (now) or `VmHWM` (highest since the last reset) of this process."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(field + ":")[1].split()[0]) * 1024


def measure(preset: str, side: str) -> dict[str, float]:
    """Runs two training steps of one clip in this process."""
    import torch
    from naive import naive_forward
    from stgcma.model import build_model

    torch.manual_seed(0)
    model = build_model(preset, checkpointing=side.endswith("checkpointing")).train()
    inputs: dict[str, torch.Tensor] = {}
    for name, shape in model.config.input_shapes(1).items():
        inputs[name] = torch.zeros(shape, dtype=torch.int64) if name == "question" else torch.randn(shape)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-4)

    def step() -> None:
        outputs = naive_forward(model, **inputs) if side == "naive" else model(**inputs)
        torch.stack([output.float().square().mean() for output in outputs.values()]).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    before = resident_bytes("VmRSS")
    step()
    peak = resident_bytes("VmHWM") - before
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return {
        "peak_bytes": peak,
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
    }


def compare(preset: str, sides: list[str], rounds: int) -> dict[str, Any]:
    """Medians per side, and their ratios to the naive side."""
    results: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            command = [sys.executable, __file__, "--measure", preset, side]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results[side].append(json.loads(output.splitlines()[-1]))
    medians = {
        side: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for side, runs in results.items()
    }
    ratios = {
        side: {key: value / medians["naive"][key] for key, value in medians[side].items()}
        for side in sides
        if side != "naive"
    }
    return {"preset": preset, "medians": medians, "ratios": ratios}


def main() -> None:
    """Compares the presets named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("presets", nargs="*", default=["ave-swin-b-base", "avs-swin-b"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--checkpointing", action="store_true", help="also with recomputation")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs=2, metavar=("PRESET", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    sides = list(SIDES if options.checkpointing else SIDES[:2])
    for preset in options.presets:
        result = compare(preset, sides, options.rounds)
        if options.json:
            print(json.dumps(result))
            continue
        for side, run in result["medians"].items():
            ratio = result["ratios"].get(side, {})
            shares = f" memory ×{ratio['peak_bytes']:.2f} time ×{ratio['seconds']:.2f}" if ratio else ""
            print(
                f"{preset:20} {side:22} {run['peak_bytes'] / 2**30:6.2f} GiB {run['seconds']:7.1f} s{shares}"
            )


if __name__ == "__main__":
    main()
