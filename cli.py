"""The command line: one thin command a verb. The work is done in the rooms."""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import cli_pages, cli_predict
from .cli_doctor import doctor
from .cli_options import Split
from .cli_shards import shards_app
from .console import mebibytes, message, table
from .errors import InputError, StgcmaError, TooManyFailuresError

if TYPE_CHECKING:
    from .chain import DemoResult
    from .preprocess.pipeline import Outcome

app = typer.Typer(
    name="stgcma",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Raw videos to trained audio-visual adapters: preprocess, train, evaluate.",
)
app.add_typer(shards_app, name="shards")
app.command()(doctor)
cli_predict.register(app)


class Modality(StrEnum):
    """What a model perceives."""

    AV = "av"
    AV_NOFUSION = "av-nofusion"
    VIDEO = "video"
    AUDIO = "audio"


class TaskName(StrEnum):
    """What a model is for."""

    AVE = "ave"
    AVS = "avs"
    AVQA = "avqa"


class SelectOn(StrEnum):
    """The split that chooses the epoch."""

    VAL = "val"
    TEST = "test"


class MissingAudio(StrEnum):
    """What becomes of a clip without an audio stream."""

    QUARANTINE = "quarantine"
    SILENCE = "silence"


class Engine(StrEnum):
    """Where the shards are made."""

    LOCAL = "local"
    RAY = "ray"


def main() -> None:
    """Runs the command line; an error that a user can meet becomes one line and its exit status."""
    # Threads that wait for each other should sleep: on two busy cores, spinning made an epoch of the demo
    # take over 120 s instead of 36. Read when torch is first imported; the user's own choice is kept.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except StgcmaError as error:
        message(f"stgcma: {error}")
        sys.exit(error.exit_code)


@app.command()
def demo(
    workdir: Annotated[Path, typer.Option(help="Where everything is made.")] = Path("demo"),
    task: Annotated[TaskName, typer.Option(help="What is learnt.")] = TaskName.AVE,
    clips: Annotated[int, typer.Option(help="Clips to synthesise.", min=10)] = 160,
    seed: Annotated[int, typer.Option(help="Seed of the collection.")] = 0,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also train without one sense, or without their exchange.")
    ] = False,
) -> None:
    """Synthesise, preprocess, train, evaluate and report, on a CPU in minutes.

    Example: stgcma demo --workdir demo --compare
    """
    from . import chain

    _show_demo(chain.demo(workdir, task=task.value, clips=clips, seed=seed, compare=compare))


@app.command()
def synthesize(
    collection: Annotated[str, typer.Argument(help="The layout to write: ave, avs-s4 or music-avqa.")],
    raw: Annotated[Path, typer.Argument(help="A new folder.", metavar="RAW")],
    clips: Annotated[int, typer.Option(help="Number of videos.")] = 160,
    seed: Annotated[int, typer.Option(help="The same seed gives the same labels and clips.")] = 0,
    workers: Annotated[int, typer.Option(help="Encoding processes.", min=1)] = 2,
) -> None:
    """Make a small collection of real encoded videos in the layout that its authors ship.

    Example: stgcma synthesize ave RAW --clips 40 --seed 1
    """
    from .preprocess.synthesis import synthesizer

    synthesizer(collection)(raw, clips=clips, seed=seed, workers=workers)
    typer.echo(f"{clips} clips in {raw}")


@app.command()
def preprocess(
    collection: Annotated[str, typer.Argument(help="ave, avs-s4, music-avqa; or folder: RAW/CLASS/*.mp4.")],
    raw: Annotated[str, typer.Argument(help="The collection's folder, a path or a URL.", metavar="RAW")],
    out: Annotated[str, typer.Argument(help="The shard directory to make, likewise.", metavar="OUT")],
    features: Annotated[str, typer.Option(help="Fbanks to make: clip, swin or clip,swin.")] = "clip,swin",
    workers: Annotated[int, typer.Option(help="Decoding processes.")] = 2,
    decoder: Annotated[str, typer.Option(help="Video decoder: auto, pyav, ffmpeg or decord.")] = "auto",
    missing_audio: Annotated[
        MissingAudio, typer.Option(help="What becomes of a clip without sound.")
    ] = MissingAudio.QUARANTINE,
    limit: Annotated[int | None, typer.Option(help="Make at most this many clips.")] = None,
    max_failed: Annotated[str, typer.Option(help="Exit with 3 when more clips than this fail.")] = "5%",
    allow_links: Annotated[bool, typer.Option("--allow-links", help="Follow links out of RAW.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Discard what OUT holds.")] = False,
    retry_quarantined: Annotated[
        bool, typer.Option("--retry-quarantined", help="Make the shards again that lack a clip.")
    ] = False,
    engine: Annotated[Engine, typer.Option(help="Where the work is done.")] = Engine.LOCAL,
    ray_address: Annotated[
        str | None, typer.Option(help="The Ray cluster; without it RAY_ADDRESS, or a local Ray.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Decode every clip of a collection into frames and log-mel features, in WebDataset shards.

    Interrupted at any moment, the same command goes on where it stopped.

    Example: stgcma preprocess ave AVE_Dataset shards --features clip --workers 8
    """
    from .preprocess.pipeline import Options
    from .preprocess.pipeline import preprocess as run

    allowed = _share(max_failed)
    options = Options(
        features=tuple(dict.fromkeys(name.strip() for name in features.split(","))),
        workers=workers,
        decoder=decoder,
        missing_audio=missing_audio.value,
        allow_links=allow_links,
        limit=limit,
        overwrite=overwrite,
        retry_quarantined=retry_quarantined,
        engine=engine.value,
        ray_address=ray_address,
    )
    try:
        outcome = run(collection, raw, out, options)
    except KeyboardInterrupt:
        message("stgcma: interrupted; the same command goes on from here")
        raise
    _show_outcome(outcome, out, as_json=json_)
    if outcome.failed_share > allowed:
        raise TooManyFailuresError(
            f"{outcome.quarantined} of {outcome.written + outcome.quarantined} clips were quarantined, "
            f"more than --max-failed {max_failed}; see {out}/quarantine.parquet"
        )


@app.command()
def train(
    out: Annotated[str, typer.Argument(help="The shard directory, a path or a URL.", metavar="OUT")],
    preset: Annotated[str, typer.Option(help="See `stgcma presets`.")],
    run: Annotated[
        Path, typer.Option("--run", "--run-folder", help="The run folder to make.", metavar="RUN")
    ],
    modality: Annotated[Modality | None, typer.Option(help="What the model perceives.")] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="The backbone's weights: timm, random or a file; the preset's if not given."),
    ] = None,
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
    """Train adapters and head on shards; the backbone stays frozen.

    Interrupted, the same command with --resume goes on to the same result. On several GPUs or machines:
    torchrun --nproc-per-node 4 -m stgcma train … --run-folder RUN (torchrun takes --run for its own).

    Example: stgcma train shards --preset ave-demo --run run --set optim.epochs=5
    """
    import dataclasses

    from .train.config import load_preset
    from .train.loop import train as fit

    settings = list(set_ or [])
    for key, value in (("train.select_on", select_on), ("data.verify", verify)):
        settings += [f"{key}={str(value).lower()}"] if value is not None else []
    if weights is not None:
        settings.append(f"model.weights={'null' if weights == 'random' else json.dumps(weights)}")
    config = load_preset(preset, settings, modality=modality.value if modality else None)
    if seeds > 1:
        from .train.repeats import repeat

        result = repeat(out, run, config, seeds=seeds, overwrite=overwrite, resume=resume)
        if json_:
            typer.echo(json.dumps(result, indent=2))
            return
        _show_runs(result)
        typer.echo(f"{result['score_name']} {result['mean']:.2%} ± {result['std']:.2%} over {seeds} seeds")
        return
    summary = fit(out, run, config, overwrite=overwrite, resume=resume)
    if not _speaks():
        return
    if json_:
        typer.echo(json.dumps(dataclasses.asdict(summary), indent=2))
        return
    typer.echo(
        f"epoch {summary.best_epoch} of {summary.epochs} chosen: {summary.score_name} "
        f"{summary.best_score:.1%} on {config.train.select_on}; {summary.trainable_parameters:,} of "
        f"{summary.total_parameters:,} parameters trained, {summary.items_per_second:.1f} clips/s, "
        f"{mebibytes(summary.peak_memory_bytes)} at most, {summary.seconds:.0f} s"
    )


@app.command("run")
def run_chain(
    task: Annotated[
        str, typer.Argument(help="ave, avs or avqa; or folder: RAW/CLASS/*.mp4.", metavar="TASK")
    ],
    raw: Annotated[str, typer.Argument(help="The collection's folder, a path or a URL.", metavar="RAW")],
    workdir: Annotated[Path, typer.Argument(help="Where everything is made.", metavar="WORKDIR")],
    preset: Annotated[str, typer.Option(help="See `stgcma presets`.")],
    workers: Annotated[int, typer.Option(help="Decoding processes.", min=1)] = 2,
    modality: Annotated[Modality | None, typer.Option(help="What the model perceives.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.key=value; may be given often.", metavar="KEY=VALUE"),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the test result as JSON.")] = False,
) -> None:
    """Preprocess, train, evaluate and report; what is done already with the same settings is skipped.

    Example: stgcma run ave AVE_Dataset work --preset ave-clip-b16-base
    """
    from . import chain
    from .preprocess.pipeline import Options
    from .train.config import load_preset
    from .train.evaluation import score_rows

    config = load_preset(preset, set_, modality=modality.value if modality else None)
    options = Options(features=chain.features_of(config), workers=workers)
    done = chain.run(task, raw, workdir, config, options)
    if json_:
        typer.echo(json.dumps(done.result, indent=2, ensure_ascii=False))
        return
    _show_outcome(done.outcome, str(workdir / "shards"), as_json=False)
    table((f"{done.result['clips']} test clips", done.result["score_name"]), score_rows(done.result))
    typer.echo(f"page: {done.page}")


@app.command()
def ablate(
    out: Annotated[str, typer.Argument(help="The shard directory, a path or a URL.", metavar="OUT")],
    preset: Annotated[str, typer.Option(help="See `stgcma presets`.")],
    run: Annotated[Path, typer.Option(help="A new folder, for one run a variant.", metavar="RUN")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.key=value; may be given often.", metavar="KEY=VALUE"),
    ] = None,
    split: Annotated[Split, typer.Option(help="What to score.")] = Split.TEST,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped, or begin.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the runs that RUN holds.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train the paper's ablation: head alone, then the temporal, spatial and global steps, then all.

    Example: stgcma ablate shards --preset ave-demo --run ablation
    """
    from .train.config import load_preset
    from .train.repeats import ablate as run_all

    config = load_preset(preset, set_)
    result = run_all(out, run, config, split=split.value, resume=resume, overwrite=overwrite)
    if json_:
        typer.echo(json.dumps(result, indent=2))
        return
    _show_runs(result)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="The run folder.", metavar="RUN")],
    shards: Annotated[str | None, typer.Option(help="Other shards than the run was trained on.")] = None,
    split: Annotated[Split, typer.Option(help="What to score.")] = Split.TEST,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Score a trained run on a split of its shards.

    Example: stgcma evaluate run --split test --json
    """
    from .train.evaluation import evaluate as score

    result = score(run, split=split.value, shards=shards)
    if not _speaks():
        return
    if json_:
        typer.echo(json.dumps(result, indent=2, ensure_ascii=False))
        return
    from .train.evaluation import score_rows

    table((f"{result['clips']} {split.value} clips", result["score_name"]), score_rows(result))
    if "stored" in result and not result["stored"]["met"]:
        stored = result["stored"]
        raise StgcmaError(
            f"{run} stores {stored['score']:.2%} on {split.value} (on {stored['machine']}), "
            f"which is not met: {result['score']:.2%} here"
        )


cli_pages.register(app)


@app.command()
def presets() -> None:
    """List the presets: the task, the frozen backbone, and how many parameters are trained.

    Example: stgcma presets
    """
    from .model import PRESET_NAMES, preset_config
    from .model.accounting import count_parameters

    rows = []
    for name in PRESET_NAMES:
        config = preset_config(name)
        depth = "-".join(map(str, config.depths))
        backbone = f"{config.backbone}, {config.width} wide, {depth} deep"
        counts = count_parameters(config)
        trained = counts["adapter"] + counts["head"]
        rows.append((name, config.task, backbone, f"{trained:,}", f"{sum(counts.values()):,}"))
    table(("preset", "task", "backbone", "trained", "all"), rows)


@app.command()
def model(
    preset: Annotated[str, typer.Argument(help="See `stgcma presets`.", metavar="PRESET")],
    json_: Annotated[bool, typer.Option("--json", help="Print the account as JSON.")] = False,
) -> None:
    """Count a preset's parameters, operations and memory; nothing is downloaded or computed.

    Example: stgcma model ave-swin-b-base --json
    """
    from .model import describe

    summary = describe(preset)
    if json_:
        typer.echo(json.dumps(summary.to_dict(), indent=2))
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


@app.command("import-reference")
def import_reference(
    file: Annotated[Path, typer.Argument(help="A checkpoint of the authors' release.", metavar="FILE.pth")],
    out: Annotated[Path, typer.Argument(help="The checkpoint folder to make.", metavar="OUT")],
    heads: Annotated[
        int | None, typer.Option(help="CLIP's attention heads; width / 64 if not given.")
    ] = None,
    modality: Annotated[
        Modality | None,
        typer.Option(help="av or av-nofusion, av if not given; video or audio only where no adapter tells."),
    ] = None,
) -> None:
    """Turn a checkpoint of the authors' release into one of ours; every entry is accounted for.

    Example: stgcma import-reference ave_swin_large.pth imported
    """
    from .model import import_reference as convert

    config = convert(file, out, heads=heads, modality=modality.value if modality else None)
    backbone = f"{config.backbone} {config.width} wide"
    typer.echo(f"{out}: {config.task}, {backbone}, {config.modality}, {config.frames} frames")


def _speaks() -> bool:
    """Whether this process speaks for all: under torchrun, the first one does."""
    return int(os.environ.get("RANK", 0)) == 0


def _share(text: str) -> float:
    """Reads `5%` or `0.05`."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError(f"--max-failed is {text!r}, must be a share such as 5% or 0.05")
    return value


def _show_outcome(outcome: Outcome, out: str, *, as_json: bool) -> None:
    if as_json:
        content = {"out": str(out), "counts": outcome.info.counts, "failures": outcome.failures}
        typer.echo(json.dumps(content, indent=2))
        return
    if outcome.was_complete:
        message(f"{out} was complete already")
    failures = ", ".join(f"{count} {reason}" for reason, count in sorted(outcome.failures.items()))
    reasons = f" ({failures})" if failures else ""
    typer.echo(f"{outcome.written} clips written, {outcome.quarantined} quarantined{reasons}")


def _show_runs(result: dict[str, Any]) -> None:
    rows = [(row["run"], f"{row['score']:.1%}", f"{row['trainable_parameters']:,}") for row in result["runs"]]
    table(("run", f"{result['split']} {result['score_name']}", "trained"), rows)


def _show_demo(result: DemoResult) -> None:
    rows: list[tuple[str, ...]] = []
    for run in result.runs:
        summary = run.summary
        baselines = run.result["baselines"]
        rows.append(
            (
                run.modality,
                f"{run.result['score']:.1%}",
                f"{max(baselines.values()):.1%}",
                f"{summary.trainable_parameters:,}",
                f"{summary.total_parameters:,}",
                f"{summary.items_per_second:.1f}",
                mebibytes(summary.peak_memory_bytes),
            )
        )
    score = f"test {result.runs[0].summary.score_name}"
    table(("modality", score, "best baseline", "trained", "parameters", "clips/s", "peak memory"), rows)
    typer.echo(f"page: {result.page}")
