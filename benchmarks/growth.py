"""Growth of cost: of preprocessing with clips and workers, of a training step with T, of the AVS head.

Every point is a process of its own; the pictures go to docs/images.

    python benchmarks/growth.py steps ave-clip-b16-base 10 stgcma    # one point, as JSON
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from clips import make_clips
from measurement import Cost, measured_apart

from preprocess import preprocess

SIDES = ("stgcma", "naive")
FEATURE_MAPS = (16, 32, 48, 64)  # the head halves them three times


@dataclass
class Curve:
    """Seconds and memory of one or two sides over something that grows.

    Attributes:
        name: of the picture's file.
        title, axis: what grows, in words.
        points: side to (x, seconds, bytes) of each.
    """

    name: str
    title: str
    axis: str
    points: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)


def curves(scratch: Path, *, quick: bool) -> list[Curve]:
    """All curves; the quick ones have fewer points, of small models."""
    clips, workers = ((4, 8), (1, 2)) if quick else ((30, 60, 120), (1, 2, 4))
    steps, maps = ((2, 3), FEATURE_MAPS[:2]) if quick else ((2, 5, 10), FEATURE_MAPS)
    ave, avs = ("ave-demo", "avs-demo") if quick else ("ave-clip-b16-base", "avs-swin-b")
    head = f"A forward and backward pass of the head of {avs}"
    return [
        _clips(scratch / "clips", clips),
        _workers(scratch / "workers", 8 if quick else 64, workers),
        _model("steps", ave, f"A training step of {ave}", "time steps T", steps),
        _model("resolution", avs, head, "side of the largest feature map", maps),
    ]


def _clips(scratch: Path, counts: tuple[int, ...]) -> Curve:
    curve = Curve("clips", "Preprocessing with two workers", "clips", {"stgcma": []})
    for count in counts:
        make_clips(scratch / str(count), count, kind="light", distinct=2)
        curve.points["stgcma"].append(_point(count, preprocess(scratch / str(count), scratch / "out", 2)))
    return curve


def _workers(scratch: Path, count: int, workers: tuple[int, ...]) -> Curve:
    curve = Curve("workers", f"Preprocessing {count} clips", "workers", {"stgcma": []})
    make_clips(scratch / "raw", count, kind="film", distinct=2)
    for number in workers:
        curve.points["stgcma"].append(_point(number, preprocess(scratch / "raw", scratch / "out", number)))
    return curve


def _point(x: int, cost: Cost) -> tuple[float, float, float]:
    return x, cost.seconds, cost.peak_bytes


def _model(kind: str, preset: str, title: str, axis: str, values: tuple[int, ...]) -> Curve:
    curve = Curve(kind, title, axis)
    for side in SIDES:
        curve.points[side] = []
        for value in values:
            point = measured_apart(__file__, kind, preset, value, side)
            curve.points[side].append((value, point["seconds"], point["bytes"]))
    return curve


def _head_step(preset: str, side: int, kind: str) -> Callable[[], None]:
    """A forward and backward pass of a preset's AVS head over feature maps of `side`, `side`/2, …"""
    import torch
    from naive import avs_head
    from stgcma.model import build_model
    from stgcma.model.backbones.encoder import Encoded

    torch.manual_seed(0)
    model = build_model(preset, "random")
    head, frames, width = model.head.train(), model.config.frames, model.config.backbone.width
    stages = [
        torch.randn(frames, max(side >> stage, 1), max(side >> stage, 1), width << stage)
        for stage in range(4)
    ]
    encoded = Encoded({"audio": torch.randn(1, frames, width << 3)}, {}, stages)

    def step() -> None:
        made = avs_head(head, encoded, frames) if kind == "naive" else head(encoded)
        made["mask_logits"].square().mean().backward()

    return step


def draw(curve: Curve, path: Path) -> None:
    """Writes the curve's seconds and memory side by side as SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    mpl.rcParams["svg.hashsalt"] = curve.name  # the same points, the same file
    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for axis, column, label, scale in ((axes[0], 1, "seconds", 1.0), (axes[1], 2, "memory, MiB", 2**-20)):
        for side, points in curve.points.items():
            axis.plot(
                [point[0] for point in points], [scale * point[column] for point in points], "o-", label=side
            )
        most = max(scale * point[column] for points in curve.points.values() for point in points)
        axis.set(xlabel=curve.axis, ylabel=label, xlim=(0, None), ylim=(0, 1.1 * most))
        axis.grid(alpha=0.3)
        if len(curve.points) > 1:
            axis.legend(frameon=False)
    figure.suptitle(curve.title, fontsize=11)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    from training_step import on_cpu, step_of

    _kind, _preset, _value, _side = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    _step = (
        step_of(_preset, _side, "cpu", frames=_value)
        if _kind == "steps"
        else _head_step(_preset, _value, _side)
    )
    print(json.dumps(on_cpu(_step)))
