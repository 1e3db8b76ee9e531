"""Guards against a wrong model in training, on four small clips: quick enough to run for every guard."""

import dataclasses
import random
import shutil
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from stgcma.errors import InputError, StgcmaError
from stgcma.model import preset_config
from stgcma.shards.manifest import read_dataset, write_dataset
from stgcma.train import step as step_module
from stgcma.train.augmentation import FrameAugmentation
from stgcma.train.batch import make_loader
from stgcma.train.data import ClipDataset, open_task
from stgcma.train.evaluation import evaluate
from stgcma.train.order import EpochOrder
from stgcma.train.run import train
from stgcma.train.sections import DataConfig
from stgcma.train.trainer import Trainer

LAST = "checkpoints/last/adapters.safetensors"


@pytest.fixture
def shards(kept_shards, tmp_path):
    """AVE in four clips: two for training, one each for val and test."""
    return shutil.copytree(kept_shards("ave"), tmp_path / "ave")


@pytest.fixture
def config(small_config):
    return small_config("ave", "optim.epochs=1", "optim.warmup_epochs=0", "optim.batch_size=1")


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_numbers_that_are_not_finite_stop_before_the_step(shards, config, tmp_path, monkeypatch, what):
    forward = step_module.Objective.forward

    def broken(objective, *arguments):
        terms = forward(objective, *arguments)
        terms.losses["class"] = terms.losses["class"] * float("nan")
        return terms

    if what == "loss":
        monkeypatch.setattr(step_module.Objective, "forward", broken)
    else:
        monkeypatch.setattr(step_module.nn.utils, "get_total_norm", lambda _: torch.tensor(float("inf")))
    stepped = []
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *_, **__: stepped.append(True))
    with pytest.raises(StgcmaError, match=rf"the {what} is (nan|inf) at step 1, on the clips"):
        train(shards, tmp_path / "run", config)
    assert not stepped


def test_what_others_draw_changes_no_number(shards, config, tmp_path, monkeypatch):
    """The weights and the noise are functions of the seed, whatever the global generators went through."""
    step = Trainer._step

    def drawing(trainer, *arguments):
        torch.rand(3)
        return step(trainer, *arguments)

    for name, seed in (("one", 1), ("other", 2)):
        torch.manual_seed(seed)
        train(shards, tmp_path / name, config)
        monkeypatch.setattr(Trainer, "_step", drawing)
    assert (tmp_path / "one" / LAST).read_bytes() == (tmp_path / "other" / LAST).read_bytes()


def test_a_signal_at_an_epochs_end_is_heeded_after_saving(shards, config, tmp_path, monkeypatch):
    epoch = Trainer._train_epoch

    def interrupted(trainer, row):
        epoch(trainer, row)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Trainer, "_train_epoch", interrupted)
    with pytest.raises(SystemExit):
        train(shards, tmp_path / "run", config)
    state = torch.load(tmp_path / "run" / "checkpoints" / "state.pt", weights_only=True)
    assert state["progress"]["step"] == 2


def test_a_damaged_clip_is_not_learnt_from(shards, config, tmp_path):
    (shard, *_) = sorted((shards / "shards").glob("train-*.tar"))
    content = bytearray(shard.read_bytes())
    content[600] ^= 1  # in the first member, behind its header
    shard.write_bytes(content)
    with pytest.raises(
        StgcmaError, match=r"train-000000\.tar: \S+ is damaged, its hash is not the manifest's"
    ):
        train(shards, tmp_path / "run", config)


def test_clips_of_other_classes_are_not_scored(shards, config, tmp_path):
    train(shards, tmp_path / "run", config)
    assert 0 <= evaluate(tmp_path / "run").score <= 1
    info = read_dataset(shards)
    write_dataset(shards, dataclasses.replace(info, classes=info.classes[::-1]))
    with pytest.raises(InputError, match=r"has other classes than .* was trained on, or in another order"):
        evaluate(tmp_path / "run")


def test_augmentation_is_one_draw_for_all_frames():
    """Three equal frames stay equal, and the generators that timm draws from go on where they were."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    augment = FrameAugmentation(DataConfig(), preset_config("ave-demo", image_size=32).backbone)

    def drawn():
        return random.random(), np.random.random(), torch.rand(1).item()

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    wanted = drawn()
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    first, second = (augment([Image.fromarray(pixels)] * 3, seed) for seed in (5, 6))
    assert drawn() == wanted
    for frame in first[1:]:
        assert torch.equal(frame, first[0])
    assert not torch.equal(first[0], second[0])


def test_a_loader_draws_nothing_from_the_global_generator(shards, config):
    """Dropout must not depend on how many loaders were begun."""
    task = open_task(shards)
    from stgcma.model import build_model

    model = build_model("ave-demo", None, **task.model_options(), width=32, depths=(1,), heads=(2,))
    dataset = ClipDataset(shards, "train", task, config.data, model.config, seed=0)
    order = EpochOrder([place.shard for place in dataset.places], 1, seed=0)
    before = torch.get_rng_state()
    assert len(list(make_loader(dataset, order, workers=0))) == 2
    assert torch.equal(torch.get_rng_state(), before)
    dataset.close()
