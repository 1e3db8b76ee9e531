"""`stgcma presets`, `stgcma model` and `stgcma import-reference`: architectures and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import table
from ..figures import mebibytes
from ..strict_json import strict_json
from .options import AdapterChoice, Backbone, Json, ModalityChoice


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(presets)
    app.command()(model)
    app.command("import-reference")(import_reference)


def presets(
    backbones: Annotated[
        bool, typer.Option("--backbones", help="List the backbones that were tried, for --backbone.")
    ] = False,
) -> None:
    """List the presets, their backbones and parameters.

    Differences from the paper's training settings (Table 9) follow below the table.

    Example: stgcma presets
    """
    if backbones:
        from ..model.backbones import backbone_rows

        table(("backbone", "family", "timm's name", "wide", "deep", "heads", "patch"), backbone_rows())
        return
    from ..model import PRESET_NAMES, preset_config
    from ..model.accounting import count_parameters
    from ..train.config import deviations

    rows = []
    for name in PRESET_NAMES:
        config = preset_config(name)
        depth = "-".join(map(str, config.backbone.depths))
        backbone = f"{config.backbone.family}, {config.backbone.width} wide, {depth} deep"
        counts = count_parameters(config)
        trained = counts["adapter"] + counts["head"]
        rows.append((name, config.task, backbone, f"{trained:,}", f"{sum(counts.values()):,}"))
    table(("preset", "task", "backbone", "trained", "all"), rows)
    for name in PRESET_NAMES:
        if differs := deviations(name):
            typer.echo(f"{name}: {differs}")


def model(
    preset: Annotated[str, typer.Argument(help="A preset; `stgcma presets` lists them.", metavar="PRESET")],
    backbone: Backbone = None,
    adapter: AdapterChoice = None,
    json_: Json = False,
) -> None:
    """Count the parameters, operations and memory of a preset.

    Nothing is downloaded, and no weights are allocated.

    Example: stgcma model ave-swin-b-base --json
    """
    from ..model import describe

    chosen = {"backbone": backbone, "adapter": adapter}
    summary = describe(preset, **{name: value for name, value in chosen.items() if value is not None})
    if json_:
        typer.echo(strict_json(summary.to_dict(), indent=2))
        return
    rows = [(f"{group} parameters", f"{count:,}") for group, count in summary.parameters.items()]
    rows += [
        ("trained parameters", f"{summary.trainable:,}"),
        ("all parameters", f"{summary.total:,}"),
        ("forward, one clip", f"{summary.forward_gflops:,.1f} GFLOPs"),
        ("memory, evaluation", mebibytes(summary.forward_bytes)),
        ("memory, training, one clip", mebibytes(summary.training_bytes)),
    ]
    table((preset, ""), rows)


def import_reference(
    file: Annotated[Path, typer.Argument(help="A checkpoint of the authors' release.", metavar="FILE.pth")],
    out: Annotated[Path, typer.Argument(help="The checkpoint folder to make.", metavar="OUT")],
    heads: Annotated[
        int | None, typer.Option(help="Number of attention heads (CLIP); by default width / 64.")
    ] = None,
    modality: ModalityChoice = None,
) -> None:
    """Convert a checkpoint of the authors' release.

    Every entry of the file must be used, otherwise the conversion fails. --modality tells av (the default)
    from av-nofusion; video and audio are for checkpoints without adapters.

    Example: stgcma import-reference ave_swin_large.pth imported
    """
    from ..model import import_reference as convert

    config = convert(file, out, heads=heads, modality=modality.value if modality else None)
    backbone = f"{config.backbone.family} {config.backbone.width} wide"
    typer.echo(f"{out}: {config.task}, {backbone}, {config.modality}, {config.frames} frames")
