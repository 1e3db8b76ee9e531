"""Every full-size preset takes a step of training, saves it, resumes, and is scored; random weights."""

import pytest
from stgcma.model import PRESET_NAMES
from stgcma.preprocess import Options, preprocess, synthesize
from stgcma.train.config import deviations, load_preset
from stgcma.train.evaluation import evaluate
from stgcma.train.run import train
from stgcma.train.tasks import TASKS

from ..conftest import SMALL

ONE_EPOCH = ("optim.epochs=1", "optim.warmup_epochs=0")
FULL_SIZE = [name for name in PRESET_NAMES if not name.endswith("-demo")]
# Table 9 of the paper, and the settings of tasks that it lacks: adapter LR, task LR, minimal LR, batch,
# warm-up epochs, augmented.
TABLE_9 = {
    "ave": (5e-5, 5e-6, 2e-6, 1, 2, True),
    "avc": (2e-4, 1e-3, 2e-6, 8, 2, True),  # not in the paper
    "avs": (3e-4, 3e-4, 2e-5, 2, 5, False),
    "avss": (3e-4, 3e-4, 2e-5, 2, 5, False),  # not in the table: as AVS
    "avqa-swin-b": (5e-5, 5e-5, 5e-6, 2, 2, False),
    "avqa-swin-l": (2.5e-5, 2.5e-5, 2e-6, 2, 2, False),
    "avvp-swin-l": (2.5e-5, 2.5e-5, 2e-6, 2, 2, False),  # not in the table: as AVQA
    "avvp": (5e-5, 5e-5, 5e-6, 2, 2, False),
}


@pytest.mark.parametrize("name", FULL_SIZE)
def test_presets_are_the_papers_columns(name):
    config = load_preset(name)
    rates = config.optim.adapter_lr, config.optim.task_lr, config.optim.minimal_lr
    published = TABLE_9.get(name, TABLE_9.get(config.task))
    assert (*rates, config.optim.batch_size, config.optim.warmup_epochs, config.data.augment) == published
    assert config.data.mixup == (0.5 if config.task == "ave" else 0)
    assert (config.optim.epochs, config.optim.betas, config.optim.weight_decay) == (20, (0.95, 0.999), 5e-7)
    assert config.model["weights"] == "timm"
    assert config.train.select_on == "val"
    differs = config.task in ("avc", "avss", "avvp") or (config.task == "avs" and config.loss.mask != "iou")
    assert bool(deviations(name)) == differs


@pytest.fixture(scope="module")
def one_clip_each(tmp_path_factory):
    """A maker of shards with one clip each for val and training; AVQA has two, for its negatives."""
    made = {}

    def make(task):
        if task not in made:
            folder = tmp_path_factory.mktemp(f"one-{task}")
            synthesize(TASKS[task].collection, folder / "raw", clips=10, seed=1, workers=1)
            made[task] = folder / "out"
            limit = 3 if task == "avqa" else 2
            preprocess(TASKS[task].collection, folder / "raw", made[task], Options(limit=limit))
        return made[task]

    return make


def check_life(shards, run, config):
    """A step of training, saved, resumed, and scored."""
    summary = train(shards, run, config)
    assert summary.trainable_parameters < summary.total_parameters
    assert train(shards, run, config, resume=True) == summary
    result = evaluate(run, split="val")
    assert 0 <= result.score <= 1


SETTINGS = ("model.weights=null", *ONE_EPOCH, "data.workers=0", "data.questions=all")
# One of each table; their settings with the smallest of models.
SHRUNK = {
    "ave-clip-b16-tiny": ("model.width=32", "model.depths=[1]", "model.heads=[2]"),
    "avc-clip-b16": SMALL["avc"],
    "ave-swin-b-base": ("model.width=8", "model.depths=[1,1,1,1]", "model.heads=[1,1,2,2]"),
    "avs-swin-b": SMALL["avs"],
    "avqa-swin-b": (*SMALL["avqa"], "model.patch=7", "model.window=4"),
}


# Small models with Swin are trained in the tests of the other tasks.
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * ("swin" in n)) for n in SHRUNK],
)
def test_a_preset_of_a_small_model_steps_saves_resumes_and_is_scored(name, kept_shards, tmp_path):
    config = load_preset(name, [*SETTINGS, *SHRUNK[name]])
    check_life(kept_shards(config.task), tmp_path / "run", config)


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("name", FULL_SIZE)
def test_a_full_size_preset_steps_saves_resumes_and_is_scored(name, one_clip_each, tmp_path):
    config = load_preset(name, SETTINGS)
    check_life(one_clip_each(config.task), tmp_path / "run", config)
