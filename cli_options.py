"""Choices that commands of several files offer."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Split(StrEnum):
    """A part of a collection."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class Modality(StrEnum):
    """What a model perceives."""

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
