"""Size of an adapter checkpoint on disk, and start time of the command line."""

from __future__ import annotations

import sys
from pathlib import Path

from measurement import Figure, cost_of, in_turns
from stgcma.model import build_model
from stgcma.model.checkpoint import save_checkpoint

PRESETS = ("ave-clip-b16-base", "avs-swin-b", "avqa-swin-b")


def figures(scratch: Path, *, quick: bool) -> list[Figure]:
    """Bytes of a checkpoint's trained part, and wall seconds of `stgcma --help`."""
    made = [_checkpoint(scratch / preset, preset) for preset in (PRESETS[:1] if quick else PRESETS)]
    spent = in_turns(
        5 if quick else 15,
        lambda: cost_of([sys.executable, "-m", "stgcma", "--help"]).seconds,
        lambda: cost_of([sys.executable, "-c", "pass"]).seconds,
    )
    return [
        *made,
        Figure("`stgcma --help`", "s", "`python -c pass`", *spent, 0.5, difference=True),
    ]


def _checkpoint(folder: Path, preset: str) -> Figure:
    model = build_model(preset, "random")
    save_checkpoint(model, folder)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    size = (folder / "adapters.safetensors").stat().st_size + (folder / "model.json").stat().st_size
    name = f"adapter checkpoint, {preset}"
    return Figure(name, "bytes", "trained parameters × 4 bytes", [size], [4 * trained], 1.02)
