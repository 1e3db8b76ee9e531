"""`stgcma export`: a trained model as a file that runs without `stgcma`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import message, table
from ..export import FORMATS
from ..export.target import checked_target
from ..figures import mebibytes
from ..strict_json import strict_json
from .options import CheckpointPreset, CheckpointShards, FoundWeights, Json, fetched_run

_FILE_HELP = f"The file to write; its ending is the format: {', '.join(f'.{name}' for name in FORMATS)}."


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(export)


def export(
    run: Annotated[
        Path,
        typer.Argument(
            help="The run folder, hf:ORG/NAME, or a checkpoint folder.", metavar="RUN", callback=fetched_run
        ),
    ],
    file: Annotated[
        Path, typer.Argument(help=_FILE_HELP, metavar="FILE", callback=checked_target, is_eager=True)
    ],
    preset: CheckpointPreset = None,
    shards: CheckpointShards = None,
    weights: FoundWeights = None,
    json_: Json = False,
) -> None:
    """Write a trained model as an ONNX or torch file.

    The file runs without stgcma. It takes frames (uint8), log-mel energies and questions as they are in
    shards, for any number of clips; normalisation is part of it, and a description is stored in it. It is run
    with two numbers of clips and compared with the model before it is left in its place.

    --shards and --preset are for a checkpoint that does not record its training data.

    Example: stgcma export run model.onnx
    """
    from ..export import export as write
    from ..export.service import TOLERANCE

    done = write(run, file, preset=preset, shards=shards, weights=weights, on_step=message)
    if json_:
        typer.echo(strict_json(done.to_json(), indent=2))
        return
    rows = [
        (kind, name, tensor.dtype, " × ".join(map(str, tensor.shape)))
        for kind, tensors in (("input", done.description.inputs), ("output", done.description.outputs))
        for name, tensor in tensors.items()
    ]
    table(("", "name", "type", "shape"), rows)
    for check in done.checks:
        clips = "1 clip" if check.clips == 1 else f"{check.clips} clips"
        difference = f"largest difference from the model {check.largest_difference:.1e}"
        typer.echo(f"{clips}: {difference} (allowed {TOLERANCE:g})")
    for path in done.files:
        typer.echo(f"{path} ({mebibytes(path.stat().st_size)})")
