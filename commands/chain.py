"""`stgcma demo` and `stgcma run`: preprocess, train, evaluate and report in one command."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import message, table
from ..figures import mebibytes, percent
from ..preprocess.collections import COLLECTIONS
from ..preprocess.collections.paths import is_video_name
from ..preprocess.synthesis import DEMOS
from ..strict_json import strict_json
from ..train.tasks import TASKS
from .collection_options import CollectionCommand, collection_options
from .data import check_failures, show_outcome
from .options import (
    CLIPS_OPTION,
    AdapterChoice,
    AudioStream,
    Backbone,
    InitFrom,
    Json,
    MaxFailed,
    MissingAudio,
    MissingAudioPolicy,
    ModalityChoice,
    NewWeights,
    Preset,
    Raw,
    Seed,
    Settings,
    Trim,
    WorkDir,
    Workers,
    model_settings,
    read_share,
)
from .train import show_scores

if TYPE_CHECKING:
    from ..chain import DemoResult


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(demo)
    app.command("run", cls=CollectionCommand)(run_chain)


def demo(
    workdir: Annotated[Path, typer.Option(help="The folder for all files.")] = Path("demo"),
    task: Annotated[
        str, typer.Option(help=f"A task ({', '.join(TASKS)}) or a collection ({', '.join(DEMOS)}).")
    ] = "ave",
    clips: Annotated[int | None, CLIPS_OPTION] = None,
    seed: Seed = 0,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also train on one modality, or without exchange between them.")
    ] = False,
) -> None:
    """Train and evaluate on synthetic clips, in minutes.

    Synthesises a collection (with as many clips as the task needs, unless --clips is given), preprocesses it,
    trains, evaluates and writes the report.

    Example: stgcma demo --workdir demo --compare
    """
    from .. import chain

    result = chain.demo(workdir, task=task, clips=clips, seed=seed, compare=compare)
    _show_demo(result)
    command = sys.argv[0] if Path(sys.argv[0]).name == "stgcma" else "python -m stgcma"
    message(f"next: {command} {_predict_arguments(result)}")


def run_chain(
    context: typer.Context,
    task: Annotated[
        str,
        typer.Argument(
            help=f"A task ({', '.join(TASKS)}) or a collection ({', '.join(COLLECTIONS)}).", metavar="TASK"
        ),
    ],
    raw: Raw,
    workdir: WorkDir,
    preset: Preset,
    workers: Workers = 2,
    missing_audio: MissingAudioPolicy = MissingAudio.QUARANTINE,
    audio_stream: AudioStream = "default",
    trim: Trim = False,
    max_failed: MaxFailed = "5%",
    modality: ModalityChoice = None,
    backbone: Backbone = None,
    adapter: AdapterChoice = None,
    weights: NewWeights = None,
    init_from: InitFrom = None,
    set_: Settings = None,
    json_: Json = False,
) -> None:
    """Preprocess, train, evaluate and report in one command.

    Stages that are complete with the same settings are skipped; an interrupted stage continues. Some
    collections have options of their own: see `stgcma run COLLECTION --help`.

    Example: stgcma run ave AVE_Dataset work --preset ave-clip-b16-base
    """
    from .. import chain
    from ..preprocess import Options
    from ..train.config import load_preset

    allowed = read_share(max_failed)
    chosen = model_settings(modality=modality, backbone=backbone, adapter=adapter, weights=weights)
    config = load_preset(preset, [*(set_ or []), *chosen])
    options = Options(
        features=chain.features_of(config),
        workers=workers,
        missing_audio=missing_audio.value,
        audio_stream=audio_stream,
        trim=trim,
        collection=collection_options(context),
    )
    done = chain.run(task, raw, workdir, config, options, init_from=init_from)
    if json_:
        typer.echo(strict_json(done.result.to_json(), indent=2))
    else:
        show_outcome(done.outcome, str(workdir / "shards"), as_json=False)
        show_scores(done.result)
        typer.echo(f"page: {done.page}")
    check_failures(done.outcome, str(workdir / "shards"), allowed)


def _predict_arguments(result: DemoResult) -> str:
    """Return a command line of `predict` for a clip of the demo, or VIDEO when none is a video."""
    video = min((path for path in result.raw.rglob("*") if is_video_name(path.name)), default=None)
    run, clip = (shlex.quote(str(path)) for path in (result.page.parent, video or "VIDEO"))
    question = f' --question "{result.question}"' if result.question else ""
    return f"predict {run} {clip}{question}"


def _show_demo(result: DemoResult) -> None:
    rows: list[tuple[str, ...]] = []
    for run in result.runs:
        summary = run.summary
        baseline = run.result.best_baseline
        rows.append(
            (
                run.modality,
                percent(run.result.score, 1),
                percent(None if baseline is None else baseline[1], 1),
                f"{summary.trainable_parameters:,}",
                f"{summary.total_parameters:,}",
                f"{summary.items_per_second:.1f}",
                mebibytes(summary.peak_memory_bytes),
            )
        )
    score = f"test {result.runs[0].summary.score_name}"
    table(("modality", score, "best baseline", "trained", "of", "clips/s", "peak memory"), rows)
    typer.echo(f"page: {result.page}")
