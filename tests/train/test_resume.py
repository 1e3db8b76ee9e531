"""A run that is killed after any step and resumed is, to the bit, the run that was not."""

import dataclasses
import json
import os
import shutil
import signal
import sys
import time

import pytest
import torch
from stgcma.errors import InputError, StgcmaError
from stgcma.shards.manifest import read_dataset, write_dataset
from stgcma.shards.schema import MANIFEST_FILE
from stgcma.train import trainer as training
from stgcma.train.run import train

from ..conftest import SMALL

SETTINGS = ("train.save_every_steps=1", "optim.batch_size=3", "data.augment=true", "data.mixup=0.5")
TWO_STEPS = ("optim.batch_size=4",)  # an epoch of 8 clips
LAST = "checkpoints/last/adapters.safetensors"


def outcome(run):
    """Return all that must be equal: weights and optimiser, losses and order of the clips, scores."""
    state = torch.load(run / "checkpoints" / "state.pt", weights_only=True)
    state["progress"] = {k: v for k, v in state["progress"].items() if "seconds" not in k}
    return {
        "weights": (run / LAST).read_bytes(),
        "best": (run / "checkpoints/best/adapters.safetensors").read_bytes(),
        "state": state,
        "steps": (run / "steps.jsonl").read_text(),
        "epochs": (run / "metrics.jsonl").read_text(),
    }


def assert_same(found, expected):
    assert found["steps"] == expected["steps"]
    assert found["epochs"] == expected["epochs"]
    assert found["weights"] == expected["weights"]
    assert found["best"] == expected["best"]
    assert equal(found["state"], expected["state"])


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


class KilledError(BaseException):
    """Stands for a kill: nothing in the program handles it."""


def test_after_every_step_of_a_short_run(ave_shards, small_config, tmp_path, monkeypatch):
    config = small_config("ave", *SETTINGS[:2], "optim.epochs=2")
    check_killed_after(range(1, 7), 6, ave_shards, config, tmp_path, monkeypatch)


@pytest.mark.parametrize(("task", "last"), [("avs", 1), ("avqa", 3)])
def test_in_the_middle_of_an_epoch_of_other_tasks(
    task, last, kept_shards, small_config, tmp_path, monkeypatch
):
    """Two clips: in the middle of the first of two epochs, or of the second."""
    config = small_config(task, SETTINGS[0], "optim.batch_size=1", "optim.epochs=2")
    check_killed_after([last], 4, kept_shards(task), config, tmp_path, monkeypatch)


def check_killed_after(kills, steps, shards, config, tmp_path, monkeypatch):
    """A run that is killed after any of the steps `kills` ends like the whole run, of so many steps."""
    train(shards, tmp_path / "whole", config)
    expected = outcome(tmp_path / "whole")
    assert len(expected["steps"].splitlines()) == steps
    step = training.Trainer._step
    for last in kills:
        run = tmp_path / f"killed-{last}"

        def killed_after(trainer, *arguments, last=last):
            stop = step(trainer, *arguments)
            if trainer.progress.step == last:
                raise KilledError
            return stop

        monkeypatch.setattr(training.Trainer, "_step", killed_after)
        with pytest.raises(KilledError):
            train(shards, run, config)
        monkeypatch.setattr(training.Trainer, "_step", step)
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
    settings = [*SMALL["ave"], *SETTINGS, *TWO_STEPS, f"optim.epochs={config.optim.epochs}"]
    for last in kills:
        command = [sys.executable, "-c", DRIVER, shards, run, last, *settings, f"data.workers={workers}"]
        result = forks.run(command)
        assert result.returncode == -signal.SIGKILL, result.stderr
    data = config.data.model_copy(update={"workers": workers})
    train(shards, run, config.model_copy(update={"data": data}), resume=True)
    assert_same(outcome(run), outcome(folder / "whole"))


def test_sigkill_with_loader_workers(forks, ave_shards, small_config, tmp_path):
    """In the middle of the second epoch; a killed process leaves a state of the first one, too."""
    config = small_config("ave", *SETTINGS, *TWO_STEPS, "optim.epochs=2")
    check_kills(forks, ave_shards, tmp_path, config, workers=2, kills=(3,))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("workers", [0, 2])
def test_sigkill_after_each_of_thirty_steps(forks, ave_shards, small_config, tmp_path, workers):
    config = small_config("ave", *SETTINGS, *TWO_STEPS, "optim.epochs=15")
    check_kills(forks, ave_shards, tmp_path, config, workers=workers, kills=range(1, 31))


@pytest.fixture(scope="module")
def finished(ave_shards, small_config, tmp_path_factory):
    run = tmp_path_factory.mktemp("finished") / "run"
    config = small_config("ave", "optim.epochs=1")
    return run, config, train(ave_shards, run, config)


def test_a_finished_run_is_left_as_it_is(finished, ave_shards, capsys):
    run, config, summary = finished
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert train(ave_shards, run, config, resume=True) == summary
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    assert "is finished already" in capsys.readouterr().err


def test_resuming_where_nothing_is_begins(ave_shards, tmp_path, finished):
    assert train(ave_shards, tmp_path / "run", finished[1], resume=True).epochs == 1


def test_other_settings_or_data_cannot_be_resumed(finished, ave_shards, small_config):
    run, _, _ = finished
    other = small_config("ave", "optim.epochs=1", "optim.adapter_lr=1e-4", "data.mixup=0.25")
    with pytest.raises(
        InputError, match=r"data\.mixup was 0\.0, is 0\.25; optim\.adapter_lr was 0\.002, is 0\.0001"
    ):
        train(ave_shards, run, other, resume=True)
    about = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**about, "data_fingerprint": "f" * 64}))
    with pytest.raises(InputError, match=r"the shards were ffffffffffff, are "):
        train(ave_shards, run, small_config("ave", "optim.epochs=1"), resume=True)
    (run / "run.json").write_text(json.dumps(about))


def test_an_earlier_run_of_avqa_keeps_its_negatives(small_config, tmp_path):
    """Version 0.1 had no setting for them."""
    import yaml
    from stgcma.train.run_folder import RunFolder

    run = RunFolder(tmp_path)
    config = small_config("avqa", "optim.epochs=2")
    run.write_config(config)
    content = yaml.safe_load((tmp_path / "config.yaml").read_text())
    del content["data"]["negatives"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    assert run.read_config().data.negatives == "clip"
    with pytest.raises(InputError, match=r"data\.negatives was 'clip', is 'frames'"):
        run.check_resumable(config, "0" * 64)
    run.check_resumable(small_config("avqa", "optim.epochs=2", "data.negatives=clip"), "0" * 64)


RECIPES = (
    "data.rand_augment=rand-m9-n2",
    "data.erasing=0.5",
    "data.mixup_beta=2",
    "data.crop_scale=[0.5,1]",
    "data.crop_aspect=[1,2]",
    "data.flip=0.1",
    "optim.betas=[0.9,0.99]",
    "loss.match=1",
)


@pytest.mark.parametrize("setting", RECIPES)
def test_a_recipe_that_is_changed_is_not_resumed(setting, finished, ave_shards, small_config):
    run = finished[0]
    name = setting.partition("=")[0]
    with pytest.raises(InputError, match=rf"cannot be resumed: .*{name} was "):
        train(ave_shards, run, small_config("ave", "optim.epochs=1", setting), resume=True)


def test_mended_clips_are_other_data(ave_shards, small_config, tmp_path):
    """`preprocess --retry-quarantined` writes shards of the same plan with another manifest."""
    config = small_config("ave", "optim.epochs=1")
    shards, run = tmp_path / "shards", tmp_path / "run"
    shutil.copytree(ave_shards, shards)
    train(shards, run, config)
    info = read_dataset(shards)
    write_dataset(shards, dataclasses.replace(info, files={**info.files, MANIFEST_FILE: "0" * 64}))
    assert read_dataset(shards).fingerprint == info.fingerprint
    with pytest.raises(InputError, match=r"RUN .* cannot be resumed: the shards were "):
        train(shards, run, config, resume=True)


def test_more_workers_are_no_other_settings(finished, ave_shards):
    run, config, summary = finished
    data = config.data.model_copy(update={"workers": 2})
    assert train(ave_shards, run, config.model_copy(update={"data": data}), resume=True) == summary


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut"])
def test_a_damaged_state_is_named(ave_shards, small_config, tmp_path, monkeypatch, content):
    config = small_config("ave", "optim.epochs=1", "train.save_every_steps=1")
    monkeypatch.setattr(
        training.Trainer, "_finish_epoch", lambda *_: (_ for _ in ()).throw(StgcmaError("stopped"))
    )
    with pytest.raises(StgcmaError, match="stopped"):
        train(ave_shards, tmp_path / "run", config)
    state = tmp_path / "run" / "checkpoints" / "state.pt"
    state.write_bytes(content)
    with pytest.raises(
        InputError, match=r"state\.pt cannot be read \(.+\); start the run again with the option overwrite"
    ):
        train(ave_shards, tmp_path / "run", config, resume=True)


@pytest.mark.parametrize(
    ("number", "left"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_saves_and_says_how_to_go_on(
    ave_shards, small_config, tmp_path, monkeypatch, capsys, number, left
):
    config = small_config("ave", "optim.epochs=2", "optim.batch_size=3")
    train(ave_shards, tmp_path / "whole", config)
    step = training.Trainer._step

    def interrupted(trainer, *arguments):
        if trainer.progress.step == 1:
            signal.raise_signal(number)
        return step(trainer, *arguments)

    monkeypatch.setattr(training.Trainer, "_step", interrupted)
    handlers = signal.getsignal(number)
    with pytest.raises(left):
        train(ave_shards, tmp_path / "run", config)
    assert signal.getsignal(number) is handlers
    said = capsys.readouterr().err
    assert "stopped at step 2, everything is saved; train again with the option resume" in said
    monkeypatch.setattr(training.Trainer, "_step", step)
    train(ave_shards, tmp_path / "run", config, resume=True)
    assert_same(outcome(tmp_path / "run"), outcome(tmp_path / "whole"))


def test_a_signal_at_an_epochs_end_saves_before_the_scoring(
    ave_shards, small_config, tmp_path, monkeypatch, capsys
):
    config = small_config("ave", "optim.epochs=2", "optim.batch_size=3")
    whole = train(ave_shards, tmp_path / "whole", config)
    epoch = training.Trainer._train_epoch

    def interrupted(trainer, row):
        epoch(trainer, row)
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(training.Trainer, "_train_epoch", interrupted)
        with pytest.raises(SystemExit):
            train(ave_shards, tmp_path / "run", config)
    assert "stopped at step 3, everything is saved" in capsys.readouterr().err
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == ""
    resumed = train(ave_shards, tmp_path / "run", config, resume=True)
    assert_same(outcome(tmp_path / "run"), outcome(tmp_path / "whole"))
    assert resumed.best_score == whole.best_score


def test_a_signal_in_the_last_scoring_is_heeded_when_all_is_done(
    ave_shards, small_config, tmp_path, monkeypatch
):
    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        return score(*arguments)

    score = training.score
    monkeypatch.setattr(training, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(ave_shards, tmp_path / "run", small_config("ave", "optim.epochs=1"))
    assert (tmp_path / "run" / "summary.json").is_file()


def test_sigterm_to_the_whole_group_saves(forks, ave_shards, tmp_path):
    """As torchrun and schedulers send it: the loader's workers get it, too."""
    run = tmp_path / "run"
    chosen = [*SMALL["ave"], "optim.epochs=500", "data.workers=1"]
    settings = [part for setting in chosen for part in ("--set", setting)]
    command = [sys.executable, "-m", "stgcma", "train", ave_shards, "--preset", "ave-demo", "--run", run]
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
    assert "everything is saved; train again with the option resume" in said
    assert "Traceback" not in said


def test_overwriting_leaves_nothing_of_the_run_before(ave_shards, small_config, tmp_path):
    run = tmp_path / "run"
    train(ave_shards, run, small_config("ave", "optim.epochs=2", "model.backbone_seed=1"))
    pages = [run / "report.html", run / "comparison.html"]
    for page in pages:
        page.write_text("of the run before")
    train(ave_shards, run, small_config("ave", "optim.epochs=1"), overwrite=True)
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 1
    assert len(list((run / "tensorboard").iterdir())) == 1
    assert not any(page.exists() for page in pages)
