"""Small real shards of every task, and a model small enough to be trained for many steps."""

from __future__ import annotations

from pathlib import Path

import pytest
from stgcma.preprocess.pipeline import Options, preprocess
from stgcma.preprocess.synthesis import avs_s4, music_avqa


@pytest.fixture(scope="session")
def avs_shards(tmp_path_factory) -> Path:
    """A synthetic AVSBench-S4 of 10 clips: 7 for training, 1 for val, 2 for test."""
    folder = tmp_path_factory.mktemp("avs")
    avs_s4.synthesize(folder / "raw", clips=10, seed=3, workers=1)
    preprocess("avs-s4", folder / "raw", folder / "out", Options(features=("swin",)))
    return folder / "out"


@pytest.fixture(scope="session")
def avqa_shards(tmp_path_factory) -> Path:
    """A synthetic MUSIC-AVQA of 10 clips: 7 for training, 1 for val, 2 for test."""
    folder = tmp_path_factory.mktemp("avqa")
    music_avqa.synthesize(folder / "raw", clips=10, seed=3, workers=1)
    preprocess("music-avqa", folder / "raw", folder / "out", Options(features=("swin",)))
    return folder / "out"


@pytest.fixture(scope="session")
def shards_of(request):
    """The shards of a task by its name; made when asked for."""
    return lambda task: request.getfixturevalue(f"{task}_shards")


# The smallest models: one block, or one a stage, narrow.
SMALL = {
    "ave": ("model.width=32", "model.depths=[1]", "model.heads=[2]"),
    "avs": ("model.width=8", "model.depths=[1,1,1,1]", "model.heads=[1,1,2,2]", "model.mask_channels=8"),
    "avqa": ("model.width=8", "model.depths=[1,1,1,1]", "model.heads=[1,1,2,2]"),
}


@pytest.fixture(scope="session")
def small_config():
    """The demo preset of a task with the smallest of models, no loader workers, and settings on top."""
    from stgcma.train.config import load_preset

    def make(task: str, *settings: str, **model: object):
        return load_preset(f"{task}-demo", [*SMALL[task], "data.workers=0", *settings], **model)

    return make
