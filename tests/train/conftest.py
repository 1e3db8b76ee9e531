"""Clips of shards, opened and closed, and shards of several sizes for streamed reading."""

from __future__ import annotations

import sys

import pytest
from stgcma.model import preset_config
from stgcma.model.noise import BatchSlice
from stgcma.train.batch import batches, make_loader
from stgcma.train.data import ClipDataset, open_task
from stgcma.train.order import ALL_QUESTIONS, EpochOrder, Item
from stgcma.train.sections import DataConfig

from .stream_shards import FEW, MANY, write_shards


@pytest.fixture
def dataset():
    """`dataset(folder, split)` is a ClipDataset with settings of DataConfig; closed after the test."""
    opened = []

    def make(folder, split="train", *, seed=None, model=None, **data):
        task = open_task(folder)
        config = model or preset_config(f"{task.name}-demo")
        opened.append(ClipDataset(folder, split, task, DataConfig(**data), config, seed=seed))
        return opened[-1]

    yield make
    for clips in opened:
        clips.close()


def item(clip, *, question=ALL_QUESTIONS, epoch=0, position=0):
    return Item(clip, question, epoch, position, BatchSlice(0, 1, 1), True)


def load(clips, *, workers=0, batch=3, seed=1):
    order = EpochOrder([place.shard for place in clips.places], batch, seed=seed)
    return list(batches(make_loader(clips, order, workers=workers)))


@pytest.fixture(scope="session")
def four_clips(kept_shards):
    """AVE in four clips: two for training, one each for val and test. Tests do not change it."""
    return kept_shards("ave")


@pytest.fixture(scope="session")
def many(four_clips, tmp_path_factory):
    """Shards of several sizes: 22 clips for training, 3 for val."""
    out = tmp_path_factory.mktemp("many") / "out"
    write_shards(four_clips, out, MANY)
    return out


@pytest.fixture(scope="session")
def few(four_clips, tmp_path_factory):
    """Five shards of 8 clips for training, for tests that train."""
    out = tmp_path_factory.mktemp("few") / "out"
    write_shards(four_clips, out, FEW)
    return out


@pytest.fixture
def ranks(forks):
    """Runs `stgcma ARGS…` in several processes that know each other as under torchrun."""

    def run(*arguments, code=None, processes=2):
        program = ["-c", code] if code else ["-m", "stgcma"]
        return forks.run_ranks([sys.executable, *program, *arguments], processes=processes)

    return run
