"""Choices that commands of several files offer."""

from __future__ import annotations

from enum import StrEnum


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
