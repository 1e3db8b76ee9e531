"""Published scores of STG-CMA (CVPR-W 2024), by preset, to compare a run with."""

from __future__ import annotations

from dataclasses import dataclass

from ..preprocess.collections import published
from ..train.config import RunConfig, architecture
from ..train.preset_files import read_preset
from ..train.repeats import ABLATION

PROTOCOL = (
    "The publication trained on sight and sound together and chose the epoch on the test split, which "
    "flatters its scores."
)


@dataclass(frozen=True)
class PublishedScore:
    """A published score, and on how many clips of the test split it was measured."""

    name: str
    score: float
    clips: int


def published_scores(config: RunConfig, collection: str) -> list[PublishedScore]:
    """Return the published scores of the run's preset: of the whole model, and of the run's part of it.

    Nothing for presets without a published score, the demos among them, and for runs on another collection
    than the publication's.
    """
    known, result = published(collection), read_preset(config.preset).published
    if known is None or result is None or collection != result.collection:
        return []
    clips = known.clips["test"]
    found = [PublishedScore(config.preset, result.score, clips)]
    steps = {name: architecture(config).get(name, True) for name in ABLATION["all"]}
    for name, score in result.ablation.items():
        if ABLATION[name] == steps:
            found.append(PublishedScore(f"{config.preset}, {name}", score, clips))
    return found
