"""`stgcma compare` and `stgcma ablate`: several models on the same shards, in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..console import table
from ..figures import mebibytes, percent
from ..strict_json import strict_json
from .options import (
    AdapterChoice,
    Backbone,
    Json,
    ModalityChoice,
    NewRun,
    NewWeights,
    Out,
    Overwrite,
    Preset,
    Resume,
    ScoredSplit,
    Seeds,
    Settings,
    Split,
    model_settings,
)
from .train import show_runs

if TYPE_CHECKING:
    from ..train.comparison import ComparedModel, Comparison


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(compare)
    app.command()(ablate)


def compare(
    out: Out,
    preset: Preset,
    run: NewRun,
    over: Annotated[
        list[str],
        typer.Option(
            "--over",
            help="A setting and the values to compare; several settings are combined.",
            metavar="SETTING=VALUE,VALUE",
        ),
    ],
    seeds: Seeds = 1,
    modality: ModalityChoice = None,
    backbone: Backbone = None,
    adapter: AdapterChoice = None,
    weights: NewWeights = None,
    set_: Settings = None,
    split: ScoredSplit = Split.TEST,
    overwrite: Overwrite = False,
    json_: Json = False,
) -> None:
    """Train several models on the same shards, in one table.

    SETTING is adapter, backbone, modality, or a setting as for --set. RUN holds a folder per model with one
    run per seed; the same command again trains what is missing. The table is also written to
    RUN/comparison.json, and drawn in RUN/comparison.html.

    Example: stgcma compare shards --preset ave-demo --run runs --over modality=av,video,audio --seeds 3
    """
    from ..pages.comparison import PAGE, write_comparison
    from ..train.comparison import compare as run_all
    from ..train.comparison import make_variants
    from ..train.distributed import is_main_process

    chosen = model_settings(modality=modality, backbone=backbone, adapter=adapter, weights=weights)
    variants = make_variants(preset, over, [*(set_ or []), *chosen])
    result = run_all(out, run, variants, seeds=seeds, split=split.value, overwrite=overwrite)
    if not is_main_process():
        return
    page = write_comparison(result, run / PAGE)
    if json_:
        typer.echo(strict_json(result.to_json(), indent=2))
        return
    _show(result)
    typer.echo(str(page))


def ablate(
    out: Out,
    preset: Preset,
    run: NewRun,
    backbone: Backbone = None,
    set_: Settings = None,
    weights: NewWeights = None,
    split: ScoredSplit = Split.TEST,
    resume: Resume = False,
    overwrite: Overwrite = False,
    json_: Json = False,
) -> None:
    """Train the ablation of the paper, and print its table.

    Trains the head alone, then with the temporal, the spatial and the global adapter, then with all. RUN
    holds one run folder per variant, and the table as RUN/comparison.json and RUN/comparison.html.

    Example: stgcma ablate shards --preset ave-demo --run ablation
    """
    from ..pages.comparison import PAGE, write_comparison
    from ..train.comparison import compare_ablation
    from ..train.config import load_preset
    from ..train.distributed import is_main_process

    config = load_preset(preset, [*(set_ or []), *model_settings(backbone=backbone, weights=weights)])
    result = compare_ablation(out, run, config, split=split.value, resume=resume, overwrite=overwrite)
    if not is_main_process():
        return
    page = write_comparison(result, run / PAGE)
    if json_:
        typer.echo(strict_json(result.scored_runs().to_json(), indent=2))
        return
    show_runs(result.scored_runs())
    typer.echo(str(page))


def _show(result: Comparison) -> None:
    score = f"{result.split} {result.score_name}"
    header = (*result.axes, score, "trained", "step", "a clip", "peak", "saved")
    rows: list[tuple[object, ...]] = [
        (
            *model.choices.values(),
            _mean(model),
            f"{model.trained_parameters:,}",
            f"{model.step_seconds:.2f} s",
            mebibytes(model.clip_memory_bytes),
            mebibytes(model.peak_memory_bytes),
            mebibytes(model.checkpoint_bytes),
        )
        for model in result.models
    ]
    table(header, rows)
    seeds = len(result.models[-1].runs)
    if seeds > 1:
        typer.echo(f"mean ± standard deviation over {seeds} seeds")
    for name, share in result.baselines.items():
        typer.echo(f"baseline: {name} {percent(share, 1)}")


def _mean(model: ComparedModel) -> str:
    if model.std is None:
        return percent(model.mean, 1)
    return f"{percent(model.mean, 1).removesuffix(' %')} ± {percent(model.std, 1)}"
