"""Runs that are finished, and settings, data and states that cannot be resumed."""

import dataclasses
import json
import shutil

import pytest
from stgcma.errors import InputError, StgcmaError
from stgcma.shards.manifest import read_dataset, write_dataset
from stgcma.shards.schema import MANIFEST_FILE
from stgcma.train import trainer as training
from stgcma.train.run import train

# One process for all: they share a trained run.
pytestmark = pytest.mark.xdist_group("finished-run")


@pytest.fixture(scope="module")
def finished(four_clips, small_config, tmp_path_factory):
    run = tmp_path_factory.mktemp("finished") / "run"
    config = small_config("ave", "optim.epochs=1")
    return run, config, train(four_clips, run, config)


def test_a_finished_run_is_left_as_it_is(finished, four_clips, capsys):
    run, config, summary = finished
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert train(four_clips, run, config, resume=True) == summary
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    assert "is finished already" in capsys.readouterr().err


def test_resuming_where_nothing_is_begins(four_clips, tmp_path, finished):
    assert train(four_clips, tmp_path / "run", finished[1], resume=True).epochs == 1


def test_other_settings_or_data_cannot_be_resumed(finished, four_clips, small_config):
    run, _, _ = finished
    other = small_config("ave", "optim.epochs=1", "optim.adapter_lr=1e-4", "data.mixup=0.25")
    with pytest.raises(
        InputError, match=r"data\.mixup was 0\.0, is 0\.25; optim\.adapter_lr was 0\.002, is 0\.0001"
    ):
        train(four_clips, run, other, resume=True)
    about = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**about, "data_fingerprint": "f" * 64}))
    with pytest.raises(InputError, match=r"the shards were ffffffffffff, are "):
        train(four_clips, run, small_config("ave", "optim.epochs=1"), resume=True)
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
def test_a_recipe_that_is_changed_is_not_resumed(setting, finished, four_clips, small_config):
    run = finished[0]
    name = setting.partition("=")[0]
    with pytest.raises(InputError, match=rf"cannot be resumed: .*{name} was "):
        train(four_clips, run, small_config("ave", "optim.epochs=1", setting), resume=True)


def test_mended_clips_are_other_data(four_clips, small_config, tmp_path):
    """`preprocess --retry-quarantined` writes shards of the same plan with another manifest."""
    config = small_config("ave", "optim.epochs=1")
    shards, run = tmp_path / "shards", tmp_path / "run"
    shutil.copytree(four_clips, shards)
    train(shards, run, config)
    info = read_dataset(shards)
    write_dataset(shards, dataclasses.replace(info, files={**info.files, MANIFEST_FILE: "0" * 64}))
    assert read_dataset(shards).fingerprint == info.fingerprint
    with pytest.raises(InputError, match=r"RUN .* cannot be resumed: the shards were "):
        train(shards, run, config, resume=True)


def test_more_workers_are_no_other_settings(finished, four_clips):
    run, config, summary = finished
    data = config.data.model_copy(update={"workers": 2})
    assert train(four_clips, run, config.model_copy(update={"data": data}), resume=True) == summary


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut"])
def test_a_damaged_state_is_named(four_clips, small_config, tmp_path, monkeypatch, content):
    config = small_config("ave", "optim.epochs=1", "train.save_every_steps=1")
    monkeypatch.setattr(
        training.Trainer, "_finish_epoch", lambda *_: (_ for _ in ()).throw(StgcmaError("stopped"))
    )
    with pytest.raises(StgcmaError, match="stopped"):
        train(four_clips, tmp_path / "run", config)
    state = tmp_path / "run" / "checkpoints" / "state.pt"
    state.write_bytes(content)
    with pytest.raises(
        InputError, match=r"state\.pt cannot be read \(.+\); start the run again with the option overwrite"
    ):
        train(four_clips, tmp_path / "run", config, resume=True)


def test_overwriting_leaves_nothing_of_the_run_before(four_clips, small_config, tmp_path):
    run = tmp_path / "run"
    train(four_clips, run, small_config("ave", "optim.epochs=2", "model.backbone_seed=1"))
    pages = [run / "report.html", run / "comparison.html"]
    for page in pages:
        page.write_text("of the run before")
    train(four_clips, run, small_config("ave", "optim.epochs=1"), overwrite=True)
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 1
    assert len(list((run / "tensorboard").iterdir())) == 1
    assert not any(page.exists() for page in pages)
