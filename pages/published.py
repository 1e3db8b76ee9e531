"""Published scores of STG-CMA (CVPR-W 2024), by preset, to compare a run with."""

from __future__ import annotations

from dataclasses import dataclass

from ..model import ModelConfig, preset_config
from ..preprocess.collections import published
from ..train.comparison import ABLATION
from ..train.config import RunConfig, architecture
from ..train.preset_files import read_preset

PROTOCOL = (
    "The publication trained with both modalities and chose the epoch on the test split, which makes its "
    "scores too high."
)


@dataclass(frozen=True)
class PublishedScore:
    """A published score. `clips`: number of clips of the test split that it was measured on."""

    name: str
    score: float
    clips: int


def published_scores(config: RunConfig, collection: str) -> list[PublishedScore]:
    """Return the published scores of a run's preset: of the whole model, and of the run's steps of it.

    The list is empty for presets without a published score, such as the demos, and for runs on another
    collection, or with another backbone or adapter, than the publication's.
    """
    known, result = published(collection), read_preset(config.preset).published
    if known is None or result is None or collection != result.collection:
        return []
    if _parts(preset_config(config.preset, **architecture(config))) != _parts(preset_config(config.preset)):
        return []
    clips = known.clips["test"]
    found = [PublishedScore(config.preset, result.score, clips)]
    steps = {name: architecture(config).get(name, True) for name in ABLATION["all"]}
    for name, score in result.ablation.items():
        if ABLATION[name] == steps:
            found.append(PublishedScore(f"{config.preset}, {name}", score, clips))
    return found


def _parts(model: ModelConfig) -> tuple[str, str | None, str]:
    """Return backbone family, published weights and adapter method of a model."""
    return model.backbone.family, model.backbone.timm_name, model.adapter.method
