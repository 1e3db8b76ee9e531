"""`stgcma predict`: a trained run on any video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import message, table
from ..errors import InputError, StgcmaError
from ..strict_json import strict_json
from .options import AudioStream, CheckpointFolder, CheckpointPreset, FoundWeights, one_model

if TYPE_CHECKING:
    from ..predict import Predictions


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command()(predict)


def predict(
    run: Annotated[
        Path | None, typer.Argument(help="The run folder; a video with --model.", metavar="RUN")
    ] = None,
    videos: Annotated[
        list[Path] | None,
        typer.Argument(help="Video files of any length, and folders of them.", metavar="VIDEO…"),
    ] = None,
    question: Annotated[
        list[str] | None, typer.Option(help="What is asked (AVQA runs); may be given often.", metavar="TEXT")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the pictures and files go.")] = Path("predictions"),
    model: CheckpointFolder = None,
    preset: CheckpointPreset = None,
    shards: Annotated[
        str | None,
        typer.Option(help="With --preset: shards that name the checkpoint's classes.", metavar="OUT"),
    ] = None,
    weights: FoundWeights = None,
    device: Annotated[str, typer.Option(help="auto (the GPU when there is one), cpu or cuda.")] = "auto",
    audio_stream: AudioStream = "default",
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Use a trained run on videos of any length.

    It says what happens when, which pixels sound, or answers questions.

    AVE writes a timeline (PNG), subtitles (VTT) and JSON; AVS the video with its sounding pixels laid over it
    (MP4), a strip (PNG), a mask a second (PNG) and JSON; AVQA a picture of what each answer was taken from
    (PNG) and JSON.

    Example: stgcma predict run holiday.mp4 --out predictions
    """
    from ..predict import predict as ask

    named = list(videos or [])
    if model is not None and run is not None:
        named, run = [run, *named], None  # with --model, all arguments are videos
    predictions = ask(
        one_model(run, model),
        named,
        question or (),
        out,
        device=device,
        preset=preset,
        shards=shards,
        weights=weights,
        audio_stream=audio_stream,
    )
    for line in predictions.warnings:
        message(f"warning: {line}")
    for one in predictions.videos:
        for line in one.warnings:
            message(f"warning: {one.video}: {line}")
    if json_:
        typer.echo(strict_json(predictions.to_json(), indent=2))
    elif predictions.videos:
        _show(predictions)
    if len(predictions.failures) == 1 and not predictions.videos:
        raise InputError(str(predictions.failures[0]))
    for failure in predictions.failures:
        message(f"stgcma: {failure}")
    if count := len(predictions.failures):
        raise StgcmaError(f"{count} of {count + len(predictions.videos)} videos could not be used")


def _show(predictions: Predictions) -> None:
    table(*predictions.rows())
    for one in predictions.videos:
        for path in one.files:
            typer.echo(str(path))
