"""Signals that stop a run: it saves, and is resumed to the same bits."""

import os
import signal
import sys
import time

import pytest
from stgcma.train import trainer as training
from stgcma.train.run import train

from ..conftest import SMALL
from .outcomes import assert_same, outcome


@pytest.mark.parametrize(
    ("number", "left"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_saves_and_says_how_to_go_on(
    four_clips, small_config, tmp_path, monkeypatch, capsys, number, left
):
    config = small_config("ave", "optim.epochs=2", "optim.batch_size=1")
    train(four_clips, tmp_path / "whole", config)
    step = training.Trainer._step

    def interrupted(trainer, *arguments):
        if trainer.progress.step == 0:
            signal.raise_signal(number)
        return step(trainer, *arguments)

    monkeypatch.setattr(training.Trainer, "_step", interrupted)
    handlers = signal.getsignal(number)
    with pytest.raises(left):
        train(four_clips, tmp_path / "run", config)
    assert signal.getsignal(number) is handlers
    said = capsys.readouterr().err
    assert "stopped at step 1, everything is saved; the same command continues it" in said
    monkeypatch.setattr(training.Trainer, "_step", step)
    train(four_clips, tmp_path / "run", config, resume=True)
    assert_same(outcome(tmp_path / "run"), outcome(tmp_path / "whole"))


def test_a_signal_at_an_epochs_end_saves_before_the_scoring(
    four_clips, small_config, tmp_path, monkeypatch, capsys
):
    config = small_config("ave", "optim.epochs=2", "optim.batch_size=1")
    whole = train(four_clips, tmp_path / "whole", config)
    epoch = training.Trainer._train_epoch

    def interrupted(trainer, row):
        epoch(trainer, row)
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(training.Trainer, "_train_epoch", interrupted)
        with pytest.raises(SystemExit):
            train(four_clips, tmp_path / "run", config)
    assert "stopped at step 2, everything is saved" in capsys.readouterr().err
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == ""
    resumed = train(four_clips, tmp_path / "run", config, resume=True)
    assert_same(outcome(tmp_path / "run"), outcome(tmp_path / "whole"))
    assert resumed.best_score == whole.best_score


def test_a_signal_in_the_last_scoring_is_heeded_when_all_is_done(
    four_clips, small_config, tmp_path, monkeypatch
):
    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        return score(*arguments)

    score = training.score
    monkeypatch.setattr(training, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(four_clips, tmp_path / "run", small_config("ave", "optim.epochs=1"))
    assert (tmp_path / "run" / "summary.json").is_file()


def test_sigterm_to_the_whole_group_saves(forks, four_clips, tmp_path):
    """As torchrun and schedulers send it: the loader's workers get it, too."""
    run = tmp_path / "run"
    chosen = [*SMALL["ave"], "optim.epochs=500", "data.workers=1"]
    settings = [part for setting in chosen for part in ("--set", setting)]
    command = [sys.executable, "-m", "stgcma", "train", four_clips, "--preset", "ave-demo", "--run", run]
    with forks.popen([*command, *settings], start_new_session=True) as process:
        try:
            deadline = time.monotonic() + 120
            while not (run / "steps.jsonl").is_file() or not (run / "steps.jsonl").stat().st_size:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGTERM)
            _, said = process.communicate(timeout=60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "everything is saved; the same command continues it" in said
    assert "Traceback" not in said
