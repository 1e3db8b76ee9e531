"""Shards with the faults of real collections, and trained runs of every task."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from stgcma.preprocess import Options, preprocess


@pytest.fixture(scope="session")
def troubled_shards(ave_raw, ffmpeg, made_once) -> Path:
    """Shards of `ave_raw`; of its 8 training clips one has no sound and one is not a video."""

    def make(folder: Path) -> None:
        raw = shutil.copytree(ave_raw, folder / "raw")
        lines = (raw / "trainSet.txt").read_text().splitlines()
        silent, broken = (raw / "AVE" / f"{line.split('&')[1]}.mp4" for line in lines[-2:])
        whole = silent.rename(folder / "whole.mp4")
        ffmpeg("-i", whole, "-c", "copy", "-an", silent)
        broken.write_bytes(b"not a video")
        options = Options(features=("clip",), missing_audio="silence")
        preprocess("ave", raw, folder / "shards", options)

    return made_once("troubled", make) / "shards"


@pytest.fixture(scope="session")
def run_of(shards_of, small_config, troubled_shards, made_once):
    """Function from a task to a run of one epoch, scored on test; AVE's is of `troubled_shards`.

    Tests do not change it.
    """
    from stgcma.train.evaluation import evaluate
    from stgcma.train.run import train

    def run(task: str) -> Path:
        shards = troubled_shards if task == "ave" else shards_of(task)

        def make(folder: Path) -> None:
            train(shards, folder / "run", small_config(task, "optim.epochs=1"))
            evaluate(folder / "run")

        return made_once(f"scored-run-{task}", make) / "run"

    return run
