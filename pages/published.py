"""Published scores of STG-CMA (CVPR-W 2024), by preset, to compare a run with."""

from __future__ import annotations

from dataclasses import dataclass

from ..preprocess.collections import published
from ..train.config import RunConfig, architecture
from ..train.repeats import ABLATION

PROTOCOL = (
    "The publication trained on sight and sound together and chose the epoch on the test split, which "
    "flatters its scores."
)

# AVE: accuracy. AVS: mIoU. Shares.
SCORES = {
    "ave-clip-b16-tiny": 0.763,
    "ave-clip-l14-tiny": 0.822,
    "ave-clip-l14-base": 0.833,
    "ave-swin-b-tiny": 0.811,
    "ave-swin-b-base": 0.814,
    "ave-swin-l-tiny": 0.820,
    "ave-swin-l-base": 0.825,
    "avs-swin-b": 0.810,
    "avs-swin-l": 0.818,
}
# The ablation, by the names of `train.repeats.ABLATION`.
ABLATION_SCORES = {
    "avs-swin-l": {
        "frozen": 0.798,
        "+temporal": 0.808,
        "+temporal+spatial": 0.814,
        "+temporal+global": 0.815,
    }
}
_COLLECTIONS = {"ave": "ave", "avs": "avs-s4"}


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
    known = published(collection)
    if config.preset not in SCORES or collection != _COLLECTIONS[config.task] or known is None:
        return []
    clips = known.clips["test"]
    found = [PublishedScore(config.preset, SCORES[config.preset], clips)]
    steps = {name: architecture(config).get(name, True) for name in ABLATION["all"]}
    for name, score in ABLATION_SCORES.get(config.preset, {}).items():
        if ABLATION[name] == steps:
            found.append(PublishedScore(f"{config.preset}, {name}", score, clips))
    return found
