"""A run that is killed after any step and resumed is, to the bit, the run that was not."""

import signal
import sys

import pytest
from stgcma.model import ADAPTERS
from stgcma.train.run import train

from ..conftest import SMALL
from .outcomes import assert_same, outcome, train_killed

# Two clips: two steps an epoch.
STEPS = ("train.save_every_steps=1", "optim.batch_size=1")
SETTINGS = (*STEPS, "data.augment=true", "data.mixup=0.5")


def test_after_every_step_of_a_short_run(four_clips, small_config, tmp_path, monkeypatch):
    config = small_config("ave", *STEPS, "optim.epochs=2")
    check_killed_after(range(1, 5), 4, four_clips, config, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["avs", "avqa"])
def test_in_the_middle_of_an_epoch_of_other_tasks(task, kept_shards, small_config, tmp_path, monkeypatch):
    config = small_config(task, *STEPS, "optim.epochs=1")
    check_killed_after([1], 2, kept_shards(task), config, tmp_path, monkeypatch)


@pytest.mark.slow
def test_in_the_middle_of_an_epoch_of_clips_of_two_lengths(avss_shards, small_config, tmp_path, monkeypatch):
    steps = ("train.save_every_steps=1", "optim.batch_size=4", "optim.epochs=1")
    check_killed_after([1], 2, avss_shards, small_config("avss", *steps), tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "method", [name if name == "lavish" else pytest.param(name, marks=pytest.mark.slow) for name in ADAPTERS]
)
def test_with_every_adapter(method, four_clips, small_config, tmp_path, monkeypatch):
    """Buffers among what is trained, and recomputation."""
    settings = (f"model.adapter={method}", "train.checkpointing=true", "optim.epochs=1")
    config = small_config("ave", *STEPS, *settings)
    check_killed_after([1], 2, four_clips, config, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "family", "timm_name"),
    [("ave", "vit", "vit_small_patch16_dinov3"), ("avs", "swinv2", "swinv2_tiny_window8_256")],
)
def test_with_families_read_off_timm(
    task, family, timm_name, kept_shards, small_config, tmp_path, monkeypatch
):
    settings = (f"model.backbone={family}", f"model.timm_name={timm_name}", "optim.epochs=1")
    config = small_config(task, *STEPS, *settings)
    check_killed_after([1], 2, kept_shards(task), config, tmp_path, monkeypatch)


def check_killed_after(kills, steps, shards, config, tmp_path, monkeypatch):
    """A run that is killed after any of the steps `kills` ends like the whole run, of so many steps."""
    train(shards, tmp_path / "whole", config)
    expected = outcome(tmp_path / "whole")
    assert len(expected["steps"].splitlines()) == steps
    for last in kills:
        run = tmp_path / f"killed-{last}"
        train_killed(shards, run, config, monkeypatch, after=last)
        train(shards, run, config, resume=True)
        assert_same(outcome(run), expected)


DRIVER = """
import os, signal, sys
from pathlib import Path
from stgcma.train.config import load_preset
from stgcma.train.run import train
from stgcma.train.trainer import Trainer
shards, run, last, *settings = sys.argv[1:]
step = Trainer._step
def killing(trainer, *arguments):
    stop = step(trainer, *arguments)
    if trainer.progress.step == int(last):
        os.kill(os.getpid(), signal.SIGKILL)
    return stop
Trainer._step = killing
train(shards, Path(run), load_preset("ave-demo", settings), resume=True)
"""


def check_kills(forks, shards, folder, config, *, workers, kills):
    """Kills a run of two steps an epoch after each of the steps `kills`, one run for all of them."""
    train(shards, folder / "whole", config)
    run = folder / f"run-{workers}"
    settings = [*SMALL["ave"], *SETTINGS, f"optim.epochs={config.optim.epochs}"]
    for last in kills:
        command = [sys.executable, "-c", DRIVER, shards, run, last, *settings, f"data.workers={workers}"]
        result = forks.run(command)
        assert result.returncode == -signal.SIGKILL, result.stderr
    data = config.data.model_copy(update={"workers": workers})
    train(shards, run, config.model_copy(update={"data": data}), resume=True)
    assert_same(outcome(run), outcome(folder / "whole"))


def test_sigkill_with_loader_workers(forks, four_clips, small_config, tmp_path):
    """In the middle of the second epoch; a killed process leaves a state of the first one, too."""
    config = small_config("ave", *SETTINGS, "optim.epochs=2")
    check_kills(forks, four_clips, tmp_path, config, workers=2, kills=(3,))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("workers", [0, 2])
def test_sigkill_after_each_of_thirty_steps(forks, four_clips, small_config, tmp_path, workers):
    config = small_config("ave", *SETTINGS, "optim.epochs=15")
    check_kills(forks, four_clips, tmp_path, config, workers=workers, kills=range(1, 31))
