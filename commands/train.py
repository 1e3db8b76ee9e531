"""`stgcma train`, `ablate` and `evaluate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import table
from ..errors import StgcmaError
from ..figures import mebibytes
from ..strict_json import strict_json
from .options import (
    CheckpointFolder,
    CheckpointPreset,
    FoundWeights,
    Modality,
    NewWeights,
    Split,
    one_model,
    weights_setting,
)

if TYPE_CHECKING:
    from ..train.repeats import TrainedRuns
    from ..train.results import EvaluationResult


class SelectOn(StrEnum):
    """The split that chooses the epoch."""

    VAL = "val"
    TEST = "test"


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`."""
    app.command()(train)
    app.command()(ablate)
    app.command()(evaluate)


def train(
    out: Annotated[str, typer.Argument(help="The shard directory, a path or a URL.", metavar="OUT")],
    preset: Annotated[str, typer.Option(help="See `stgcma presets`.")],
    run: Annotated[
        Path, typer.Option("--run", "--run-folder", help="The run folder to make.", metavar="RUN")
    ],
    modality: Annotated[Modality | None, typer.Option(help="What the model perceives.")] = None,
    weights: NewWeights = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.key=value; may be given often.", metavar="KEY=VALUE"),
    ] = None,
    select_on: Annotated[
        SelectOn | None, typer.Option(help="The split that chooses the epoch; test is what papers did.")
    ] = None,
    verify: Annotated[
        bool | None, typer.Option("--verify/--no-verify", help="Check the shards' hashes in the first epoch.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Train with this many seeds; mean and deviation.", min=1)] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where RUN stopped, or begin.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that RUN holds.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train adapters and head on shards.

    The backbone stays frozen.

    Interrupted, the same command with --resume goes on to the same result. On several GPUs or machines:
    torchrun --nproc-per-node 4 -m stgcma train … --run-folder RUN (torchrun takes --run for its own).

    Example: stgcma train shards --preset ave-demo --run run --set optim.epochs=5
    """
    import dataclasses

    from ..train.config import load_preset
    from ..train.distributed import leads
    from ..train.loop import train as fit

    settings = list(set_ or [])
    for key, value in (("train.select_on", select_on), ("data.verify", verify)):
        settings += [f"{key}={str(value).lower()}"] if value is not None else []
    settings += weights_setting(weights)
    config = load_preset(preset, settings, modality=modality.value if modality else None)
    if seeds > 1:
        from ..train.repeats import repeat

        result = repeat(out, run, config, seeds=seeds, overwrite=overwrite, resume=resume)
        if not leads():
            return
        if json_:
            typer.echo(strict_json(result.to_json(), indent=2))
            return
        _show_runs(result)
        typer.echo(f"{result.score_name} {result.mean:.2%} ± {result.std:.2%} over {seeds} seeds")
        return
    summary = fit(out, run, config, overwrite=overwrite, resume=resume)
    if not leads():
        return
    if json_:
        typer.echo(strict_json(dataclasses.asdict(summary), indent=2))
        return
    typer.echo(
        f"epoch {summary.best_epoch} of {summary.epochs} chosen: {summary.score_name} "
        f"{summary.best_score:.1%} on {config.train.select_on}; {summary.trainable_parameters:,} of "
        f"{summary.total_parameters:,} parameters trained, {summary.items_per_second:.1f} clips/s, "
        f"{mebibytes(summary.peak_memory_bytes)} at most, {summary.seconds:.0f} s"
    )


def ablate(
    out: Annotated[str, typer.Argument(help="The shard directory, a path or a URL.", metavar="OUT")],
    preset: Annotated[str, typer.Option(help="See `stgcma presets`.")],
    run: Annotated[Path, typer.Option(help="A new folder, for one run a variant.", metavar="RUN")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.key=value; may be given often.", metavar="KEY=VALUE"),
    ] = None,
    weights: NewWeights = None,
    split: Annotated[Split, typer.Option(help="What to score.")] = Split.TEST,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped, or begin.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the runs that RUN holds.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train the paper's ablation, and print its table.

    The head alone, then with the temporal, spatial and global steps, then with all.

    Example: stgcma ablate shards --preset ave-demo --run ablation
    """
    from ..train.config import load_preset
    from ..train.distributed import leads
    from ..train.repeats import ablate as run_all

    config = load_preset(preset, [*(set_ or []), *weights_setting(weights)])
    result = run_all(out, run, config, split=split.value, resume=resume, overwrite=overwrite)
    if not leads():
        return
    if json_:
        typer.echo(strict_json(result.to_json(), indent=2))
        return
    _show_runs(result)


def evaluate(
    run: Annotated[Path | None, typer.Argument(help="The run folder.", metavar="RUN")] = None,
    model: CheckpointFolder = None,
    preset: CheckpointPreset = None,
    shards: Annotated[
        str | None,
        typer.Option(help="Other shards than the run was trained on; --model needs them.", metavar="OUT"),
    ] = None,
    split: Annotated[Split, typer.Option(help="What to score.")] = Split.TEST,
    weights: FoundWeights = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Score a trained run on a split of its shards.

    Or, with --model, a checkpoint folder: what stgcma import-reference makes, or a run's checkpoints/best.

    Example: stgcma evaluate run --split test --json
    """
    from ..train.distributed import leads
    from ..train.evaluation import evaluate as score

    path = one_model(run, model)
    result = score(path, split=split.value, shards=shards, preset=preset, weights=weights)
    if not leads():
        return
    if json_:
        typer.echo(strict_json(result.to_json(), indent=2))
    else:
        show_scores(result)
    stored = result.stored
    if stored is not None and not stored.met:
        raise StgcmaError(
            f"{path} stores {stored.score:.2%} on {split.value} (on {stored.machine}), "
            f"which is not met: {result.score:.2%} here"
        )


def show_scores(result: EvaluationResult) -> None:
    """Print the scores of an evaluation as a table."""
    rows = [(row.name, "–" if row.share is None else f"{row.share:.1%}") for row in result.rows()]
    table((f"{result.clips} {result.split} clips", result.score_name), rows)


def _show_runs(result: TrainedRuns) -> None:
    rows = [(row.run, f"{row.score:.1%}", f"{row.trainable_parameters:,}") for row in result.runs]
    table(("run", f"{result.split} {result.score_name}", "trained"), rows)
