"""Choices that commands of several files offer."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError


class Split(StrEnum):
    """A part of a collection."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class Modality(StrEnum):
    """The modalities that a model takes."""

    AV = "av"
    AV_NOFUSION = "av-nofusion"
    VIDEO = "video"
    AUDIO = "audio"


AudioStream = Annotated[
    str, typer.Option(help="The sound stream that is taken: default, loudest, or its number from 0.")
]
Trim = Annotated[
    bool, typer.Option("--trim", help="Take the first span of clips longer than their annotation.")
]
NewWeights = Annotated[
    str | None,
    typer.Option(
        "--weights", help="The backbone's weights: timm, random or a file; the preset's if not given."
    ),
]
"""Of a command that builds a model."""

FoundWeights = Annotated[
    str | None,
    typer.Option("--weights", help="The backbone's file of weights, where it is not found by itself."),
]
"""Of a command that loads a trained model."""

CheckpointFolder = Annotated[
    Path | None,
    typer.Option(
        "--model", help="In place of RUN: a checkpoint folder, imported or handed on.", metavar="DIR"
    ),
]
CheckpointPreset = Annotated[
    str | None, typer.Option("--preset", help="Of a checkpoint that does not say how it was trained.")
]


def weights_setting(weights: str | None) -> list[str]:
    """`--weights` as a setting of the configuration."""
    import json

    if weights is None:
        return []
    return [f"model.weights={'null' if weights == 'random' else json.dumps(weights)}"]


def one_model(run: Path | None, model: Path | None) -> Path:
    """The folder of the trained model: RUN or `--model`. Raises InputError unless there is exactly one."""
    if (run is None) == (model is None):
        said = "RUN is missing" if run is None else f"RUN is {run} and --model is {model}"
        raise InputError(f"{said}; give a run folder, or a checkpoint folder with --model")
    return run or model or Path()
