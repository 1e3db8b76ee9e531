"""Streamed runs: killed and resumed, in several processes."""

import json
import sys

import numpy as np
import pytest
import torch
from stgcma.errors import OtherSettingsError
from stgcma.train import loading
from stgcma.train.distributed import ProcessGroup
from stgcma.train.run import train
from stgcma.train.sections import DataConfig

from ..conftest import SMALL
from .outcomes import assert_same, outcome, train_killed

SETTINGS = (
    "data.read=streamed", "data.shuffle_buffer=4", "data.mixup=0.5",
    "optim.batch_size=4", "optim.epochs=2", "train.save_every_steps=1",
)  # fmt: skip


@pytest.mark.parametrize(
    ("workers", "accumulate", "epoch"), [(0, 2, 1), pytest.param(2, 1, 2, marks=pytest.mark.slow)]
)
def test_a_killed_run_ends_with_the_same_weights(
    few, small_config, tmp_path, monkeypatch, workers, accumulate, epoch
):
    """Killed in the middle of the first epoch, or of the second."""
    config = small_config("ave", *SETTINGS, f"data.workers={workers}", f"train.accumulate={accumulate}")
    train(few, tmp_path / "whole", config)
    expected = outcome(tmp_path / "whole")
    steps = [json.loads(line) for line in expected["steps"].splitlines()]
    for each in (1, 2):
        keys = [key for row in steps if row["epoch"] == each for key in row["clips"]]
        assert sorted(keys) == [f"clip-{n:02d}" for n in range(8)]
    assert sum(row["epoch"] == epoch for row in steps) > 1
    last = 1 + sum(row["epoch"] < epoch for row in steps)
    run = tmp_path / "killed"
    train_killed(few, run, config, monkeypatch, after=last)
    train(few, run, config, resume=True)
    assert_same(outcome(run), expected)


def test_another_number_of_streams_is_another_order(few, small_config, tmp_path):
    config = small_config("ave", *SETTINGS[:4], "optim.epochs=1")
    train(few, tmp_path / "run", config)
    (tmp_path / "run" / "summary.json").unlink()
    other = small_config("ave", *SETTINGS[:4], "optim.epochs=1", "data.workers=2")
    with pytest.raises(OtherSettingsError, match="streamed by 0 loader processes, now by 2"):
        train(few, tmp_path / "run", other, resume=True)


def test_two_processes_have_equally_many_steps_and_every_clip_once(forks, few, tmp_path):
    """With 3 and 2 shards, so that one of them runs out of clips before the other."""
    chosen = [*SMALL["ave"], *SETTINGS, "data.workers=1", "train.accumulate=2"]
    options = [part for setting in chosen for part in ("--set", setting)]
    command = [sys.executable, "-m", "stgcma", "train", few, "--preset", "ave-demo", *options]
    done = forks.run_ranks([*command, "--run-folder", tmp_path / "run"], processes=2)
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line) for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()]
    for epoch in (1, 2):
        clips = [key for row in steps if row["epoch"] == epoch for key in row["clips"]]
        assert sorted(clips) == [f"clip-{n:02d}" for n in range(8)]


def test_processes_with_room_for_other_numbers_of_workers_agree_on_the_smallest(monkeypatch):
    class TwoRanks(ProcessGroup):
        def gather(self, values):
            return np.array([values, [1.0]])  # the other has room for one

    monkeypatch.setattr(loading, "possible_workers", lambda wanted: wanted)
    group = TwoRanks(0, 2, torch.device("cpu"))
    streamed = DataConfig(read="streamed", workers=4)
    assert loading.stream_shape(streamed, group) == {"processes": 2, "loader processes": 1}
    assert loading.stream_shape(DataConfig(workers=4), group) is None
