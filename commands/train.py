"""`stgcma train` and `stgcma evaluate`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import table
from ..errors import StgcmaError
from ..figures import mebibytes, percent, short_duration
from ..strict_json import strict_json
from .options import (
    AdapterChoice,
    Backbone,
    CheckpointFolder,
    CheckpointPreset,
    FoundWeights,
    InitFrom,
    Json,
    ModalityChoice,
    NewRun,
    NewWeights,
    OtherShards,
    Out,
    Overwrite,
    Preset,
    Resume,
    ScoredSplit,
    Seeds,
    Settings,
    Split,
    TrainedRun,
    model_settings,
    one_model,
)

if TYPE_CHECKING:
    from ..train.config import RunConfig
    from ..train.repeats import ScoredRuns, ScoredSeeds
    from ..train.results import EvaluationResult
    from ..train.trainer import TrainSummary


class SelectOn(StrEnum):
    """Splits that the epoch can be selected on."""

    VAL = "val"
    TEST = "test"


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(train)
    app.command()(evaluate)


def train(
    out: Out,
    preset: Preset,
    run: NewRun,
    backbone: Backbone = None,
    modality: ModalityChoice = None,
    adapter: AdapterChoice = None,
    weights: NewWeights = None,
    set_: Settings = None,
    select_on: Annotated[
        SelectOn | None, typer.Option(help="Split to select the epoch on; the publications used test.")
    ] = None,
    verify: Annotated[
        bool | None,
        typer.Option("--verify/--no-verify", help="Check the shards' hashes in the first epoch."),
    ] = None,
    init_from: InitFrom = None,
    seeds: Seeds = 1,
    resume: Resume = False,
    overwrite: Overwrite = False,
    json_: Json = False,
) -> None:
    """Train adapters and head on shards.

    After an interruption, the same command with --resume continues to the same result. With several --seeds,
    mean and standard deviation of the test scores are printed. On several GPUs or machines:
    torchrun --nproc-per-node 4 -m stgcma train … --run-folder RUN (torchrun itself takes --run).

    Example: stgcma train shards --preset ave-demo --run run --set optim.epochs=5
    """
    import dataclasses

    from ..pages.drawn_clips import draw_clips
    from ..train.config import load_preset
    from ..train.distributed import is_main_process
    from ..train.run import train as fit

    settings = list(set_ or [])
    for key, value in (("train.select_on", select_on), ("data.verify", verify)):
        settings += [f"{key}={str(value).lower()}"] if value is not None else []
    settings += model_settings(modality=modality, backbone=backbone, adapter=adapter, weights=weights)
    config = load_preset(preset, settings)
    if seeds > 1:
        from ..train.repeats import repeat

        result = repeat(
            out,
            run,
            config,
            seeds=seeds,
            overwrite=overwrite,
            resume=resume,
            init_from=init_from,
            draw=draw_clips,
        )
        if is_main_process():
            _show_seeds(result, json_=json_)
        return
    summary = fit(out, run, config, overwrite=overwrite, resume=resume, init_from=init_from, draw=draw_clips)
    if not is_main_process():
        return
    if json_:
        typer.echo(strict_json(dataclasses.asdict(summary), indent=2))
        return
    typer.echo(_summary_line(summary, config))


def _summary_line(summary: TrainSummary, config: RunConfig) -> str:
    return (
        f"epoch {summary.best_epoch} of {summary.epochs} chosen: {summary.score_name} "
        f"{percent(summary.best_score, 1)} on {config.train.select_on}; {summary.trainable_parameters:,} of "
        f"{summary.total_parameters:,} parameters trained, {summary.items_per_second:.1f} clips/s, "
        f"{mebibytes(summary.peak_memory_bytes)} at most, {short_duration(summary.seconds)}, "
        f"{short_duration(summary.seconds / config.optim.epochs)} an epoch"
    )


def evaluate(
    run: TrainedRun = None,
    model: CheckpointFolder = None,
    preset: CheckpointPreset = None,
    shards: OtherShards = None,
    split: ScoredSplit = Split.TEST,
    weights: FoundWeights = None,
    json_: Json = False,
) -> None:
    """Score a trained run on a split of its shards.

    With --model, score a checkpoint folder: the output of stgcma import-reference, or checkpoints/best of a
    run. It needs --shards, and --preset when it does not record its training.

    Example: stgcma evaluate run --split test --json
    """
    from ..train.distributed import is_main_process
    from ..train.evaluation import evaluate as score

    path = one_model(run, model)
    result = score(path, split=split.value, shards=shards, preset=preset, weights=weights)
    if not is_main_process():
        return
    if json_:
        typer.echo(strict_json(result.to_json(), indent=2))
    else:
        show_scores(result)
    stored = result.stored
    if stored is not None and not stored.met:
        raise StgcmaError(
            f"{path} stores {percent(stored.score, 2)} on {split.value} (on {stored.machine}), "
            f"but it scores {percent(result.score, 2)} here"
        )


def show_scores(result: EvaluationResult) -> None:
    """Print the scores of an evaluation as a table."""
    rows = [(row.name, percent(row.share, 1)) for row in result.rows()]
    table((f"{result.clips} {result.split} clips", result.score_name), rows)


def _show_seeds(result: ScoredSeeds, *, json_: bool) -> None:
    if json_:
        typer.echo(strict_json(result.to_json(), indent=2))
        return
    show_runs(result)
    seeds = len(result.runs)
    typer.echo(f"{result.score_name} {percent(result.mean, 2)} ± {percent(result.std, 2)} over {seeds} seeds")


def show_runs(result: ScoredRuns) -> None:
    """Print the scores of several runs as a table."""
    rows = [(row.run, percent(row.score, 1), f"{row.trainable_parameters:,}") for row in result.runs]
    table(("run", f"{result.split} {result.score_name}", "trained"), rows)
