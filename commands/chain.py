"""`stgcma demo` and `stgcma run`: the stages in a row."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import message, table
from ..figures import mebibytes
from ..strict_json import strict_json
from .data import MissingAudio, check_failures, read_share, show_outcome
from .options import AudioStream, Modality, NewWeights, Trim, weights_setting
from .train import show_scores

if TYPE_CHECKING:
    from ..chain import DemoResult


class TaskName(StrEnum):
    """The tasks that a chain can train for."""

    AVE = "ave"
    AVS = "avs"
    AVQA = "avqa"


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`."""
    app.command()(demo)
    app.command("run")(run_chain)


def demo(
    workdir: Annotated[Path, typer.Option(help="Where everything is made.")] = Path("demo"),
    task: Annotated[TaskName, typer.Option(help="What is learnt.")] = TaskName.AVE,
    clips: Annotated[
        int | None, typer.Option(help="Clips to synthesise; if not given 160, for avs 480.", min=10)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the collection.")] = 0,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also train without one sense, or without their exchange.")
    ] = False,
) -> None:
    """Run the whole job on made-up clips, in minutes.

    Synthesises a collection with known answers, preprocesses it, trains, evaluates and writes the page.

    Example: stgcma demo --workdir demo --compare
    """
    from .. import chain
    from ..train.tasks import TASKS

    result = chain.demo(workdir, task=task.value, clips=clips, seed=seed, compare=compare)
    _show_demo(result)
    command = sys.argv[0] if Path(sys.argv[0]).name == "stgcma" else "python -m stgcma"
    example = TASKS[task.value].demo.question
    question = f' --question "{example}"' if example else ""
    message(f"next: {command} predict {result.page.parent} {min(result.raw.rglob('*.mp4'))}{question}")


def run_chain(
    task: Annotated[
        str, typer.Argument(help="ave, avs or avqa; or folder: RAW/CLASS/*.mp4.", metavar="TASK")
    ],
    raw: Annotated[str, typer.Argument(help="The collection's folder, a path or a URL.", metavar="RAW")],
    workdir: Annotated[Path, typer.Argument(help="Where everything is made.", metavar="WORKDIR")],
    preset: Annotated[str, typer.Option(help="See `stgcma presets`.")],
    workers: Annotated[int, typer.Option(help="Decoding processes.", min=1)] = 2,
    missing_audio: Annotated[
        MissingAudio, typer.Option(help="What becomes of a clip without sound.")
    ] = MissingAudio.QUARANTINE,
    audio_stream: AudioStream = "default",
    trim: Trim = False,
    max_failed: Annotated[str, typer.Option(help="Exit with 3 when more clips than this fail.")] = "5%",
    modality: Annotated[Modality | None, typer.Option(help="What the model perceives.")] = None,
    weights: NewWeights = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.key=value; may be given often.", metavar="KEY=VALUE"),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the test result as JSON.")] = False,
) -> None:
    """Preprocess, train, evaluate and report, in one.

    What is done already with the same settings is skipped, what is half done goes on.

    Example: stgcma run ave AVE_Dataset work --preset ave-clip-b16-base
    """
    from .. import chain
    from ..preprocess.pipeline.run import Options
    from ..train.config import load_preset

    allowed = read_share(max_failed)
    settings = [*(set_ or []), *weights_setting(weights)]
    config = load_preset(preset, settings, modality=modality.value if modality else None)
    options = Options(
        features=chain.features_of(config),
        workers=workers,
        missing_audio=missing_audio.value,
        audio_stream=audio_stream,
        trim=trim,
    )
    done = chain.run(task, raw, workdir, config, options)
    if json_:
        typer.echo(strict_json(done.result.to_json(), indent=2))
    else:
        show_outcome(done.outcome, str(workdir / "shards"), as_json=False)
        show_scores(done.result)
        typer.echo(f"page: {done.page}")
    check_failures(done.outcome, str(workdir / "shards"), allowed)


def _show_demo(result: DemoResult) -> None:
    rows: list[tuple[str, ...]] = []
    for run in result.runs:
        summary = run.summary
        baseline = run.result.best_baseline
        rows.append(
            (
                run.modality,
                f"{run.result.score:.1%}",
                "–" if baseline is None else f"{baseline[1]:.1%}",
                f"{summary.trainable_parameters:,}",
                f"{summary.total_parameters:,}",
                f"{summary.items_per_second:.1f}",
                mebibytes(summary.peak_memory_bytes),
            )
        )
    score = f"test {result.runs[0].summary.score_name}"
    table(("modality", score, "best baseline", "trained", "of", "clips/s", "peak memory"), rows)
    typer.echo(f"page: {result.page}")
