"""`stgcma predict`: apply a trained run to videos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import message, table
from ..errors import InputError, StgcmaError
from ..strict_json import strict_json
from .options import (
    OUT_FOLDER_OPTION,
    AudioStream,
    CheckpointFolder,
    CheckpointPreset,
    Device,
    FoundWeights,
    Json,
    OtherShards,
    TrainedRun,
    one_model,
)

if TYPE_CHECKING:
    from ..predict import Predictions


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(predict)


def predict(
    run: TrainedRun = None,
    videos: Annotated[
        list[Path] | None,
        typer.Argument(help="Video files of any length, or folders of them.", metavar="VIDEO…"),
    ] = None,
    question: Annotated[
        list[str] | None, typer.Option(help="A question for AVQA runs; may be repeated.", metavar="TEXT")
    ] = None,
    out: Annotated[Path, OUT_FOLDER_OPTION] = Path("predictions"),
    model: CheckpointFolder = None,
    preset: CheckpointPreset = None,
    shards: OtherShards = None,
    weights: FoundWeights = None,
    device: Device = "auto",
    audio_stream: AudioStream = "default",
    json_: Json = False,
) -> None:
    """Apply a trained run to videos of any length.

    AVE and AVVP runs write a timeline (PNG), subtitles (VTT), the events as a table (CSV) and as a label
    track of Audacity (TXT) to correct and train on, and JSON. AVC runs write a timeline, subtitles, JSON, and
    a table of the labels of all videos (CSV) that can be corrected and trained on. AVS and AVSS runs write
    the video with its sounding pixels highlighted (MP4), a strip of frames (PNG), one mask per second (PNG)
    to correct and train on, and JSON. AVQA runs write a picture of the attended seconds and pixels of each
    answer (PNG), the answers as JSONL to correct and train on, and JSON.

    --shards and --preset are for a --model checkpoint that does not record its training data.

    Example: stgcma predict run holiday.mp4 --out predictions
    """
    from ..predict import predict as ask

    named = list(videos or [])
    if model is not None and run is not None:
        named, run = [run, *named], None  # with --model, every argument is a video
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
    for path in predictions.files:
        typer.echo(str(path))
