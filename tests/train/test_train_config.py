import itertools
import re
from pathlib import Path

import pytest
from stgcma.errors import InputError
from stgcma.model import PRESET_NAMES
from stgcma.preprocess import COLLECTIONS
from stgcma.train.comparison import ABLATION
from stgcma.train.config import load_preset, parse, with_earlier_defaults
from stgcma.train.preset_files import preset_names, read_preset
from stgcma.train.tasks import TASKS

PRESETS = Path(__file__).parents[2] / "train/presets"


def test_every_committed_preset_is_valid():
    """Presets, the architectures behind them, and the files that they extend; all faults together."""
    faults = []
    for name in preset_names():
        try:
            config = load_preset(name)
            result = read_preset(name).published
        except (InputError, ValueError, TypeError) as error:
            faults.append(f"{name}: {error}")
            continue
        if result is not None and COLLECTIONS[result.collection].task != config.task:
            faults.append(f"{name}: published on {result.collection}, which is not for {config.task}")
        if result is not None and not set(result.ablation) <= set(ABLATION):
            faults.append(f"{name}: ablation of {', '.join(set(result.ablation) - set(ABLATION))}")
    assert not faults, "\n".join(faults)
    assert set(preset_names()) == set(PRESET_NAMES)
    files = {path.stem for path in PRESETS.glob("*.yaml")}
    assert {name for name in files if not name.startswith("_")} == set(preset_names())


def test_no_two_preset_files_are_alike():
    lines = {
        # Names of sections are no settings.
        path.stem: {line for line in path.read_text().splitlines() if not re.match("extends:|[a-z]+:$", line)}
        for path in PRESETS.glob("*.yaml")
    }
    for one, other in itertools.combinations(lines, 2):
        common = lines[one] & lines[other]
        smaller = min(len(lines[one]), len(lines[other]))
        assert len(common) < 2 or len(common) / smaller <= 0.3, (one, other, common)


def test_published_results_are_the_papers():
    """Table 1 (AVE, accuracy) and Table 2 (AVSBench-S4, mIoU) of the paper."""
    results = {name: result for name in preset_names() if (result := read_preset(name).published)}
    assert {name: (result.collection, result.score) for name, result in results.items()} == {
        "ave-clip-b16-tiny": ("ave", 0.763),
        "ave-clip-l14-tiny": ("ave", 0.822),
        "ave-clip-l14-base": ("ave", 0.833),
        "ave-swin-b-tiny": ("ave", 0.811),
        "ave-swin-b-base": ("ave", 0.814),
        "ave-swin-l-tiny": ("ave", 0.820),
        "ave-swin-l-base": ("ave", 0.825),
        "avs-swin-b": ("avs-s4", 0.810),
        "avs-swin-l": ("avs-s4", 0.818),
    }


def test_a_file_replaces_single_settings_of_the_file_that_it_extends(tmp_path):
    (tmp_path / "_far.yaml").write_text("task: ave\noptim: {epochs: 20, batch_size: 1}\n")
    (tmp_path / "_near.yaml").write_text("extends: _far\ndeviates: a little\noptim: {batch_size: 2}\n")
    (tmp_path / "mine.yaml").write_text("extends: _near\noptim: {adapter_lr: 0.5}\n")
    found = read_preset("mine", folder=tmp_path)
    assert found.settings == {"task": "ave", "optim": {"epochs": 20, "batch_size": 2, "adapter_lr": 0.5}}
    assert found.deviates == "a little"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": "extends: b"}, "preset a extends b, which is missing"),
        ({"a": "extends: b", "b": "extends: a"}, "preset a extends itself"),
    ],
)
def test_files_that_extend_nothing_or_themselves_are_refused(files, message, tmp_path):
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_preset("a", folder=tmp_path)


def test_settings_go_on_top_of_the_preset():
    config = load_preset("ave-demo", ["optim.adapter_lr=1e-4", "optim.epochs=3"], modality="video")
    assert (config.optim.adapter_lr, config.optim.epochs) == (1e-4, 3)
    assert config.model == {"modality": "video"}
    assert config.optim.task_lr == load_preset("ave-demo").optim.task_lr


@pytest.mark.parametrize(
    ("preset", "adapter", "rate"),
    [  # the rates of CoLA's and LAVISH's scripts; 5e-5, 3e-4, 2e-4 and 2e-3 are the presets'
        ("ave-clip-b16-base", "stg-cma", 5e-5),
        ("ave-clip-b16-base", "layernorm", 5e-5),
        ("ave-clip-b16-base", "lora", 5e-6),
        ("avs-swin-b", "cola", 2e-4),
        ("avs-swin-b", "lavish", 1e-4),
        ("avqa-swin-b", "lavish", 8e-5),
        ("avc-swin-b", "lora", 2e-4),
        ("avss-swin-b", "side", 1e-3),
        ("ave-demo", "lora", 2e-3),
        ("ave-demo", "side", 2e-3),
    ],
)
def test_adapters_have_learning_rates_of_their_own(preset, adapter, rate):
    chosen = f"model.adapter={adapter}"
    config = load_preset(preset, [chosen])
    assert config.optim.adapter_lr == rate
    assert config.optim.task_lr == load_preset(preset).optim.task_lr
    assert load_preset(preset, ["optim.adapter_lr=7e-5", chosen]).optim.adapter_lr == 7e-5


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optim.adaptor_lr=1", "optim has no 'adaptor_lr'; did you mean 'adapter_lr'?"),
        ("optim.betas=[0.9,0.99", "--set optim.betas: '[0.9,0.99' is not YAML"),
        ("data.cache=%TMP%", "--set data.cache: '%TMP%' is not YAML"),
        ("optimm.epochs=1", "no section 'optimm'; did you mean 'optim'?"),
        ("epochs=1", "must look like section.key=value"),
        ("optim.epochs", "must look like section.key=value"),
        ("optim.epochs=0", "optim.epochs: input should be greater than or equal to 1, got 0"),
        ("optim.adapter_lr=fast", "optim.adapter_lr: input should be a valid number"),
        ("optim.warmup_epochs=10", "optim.warmup_epochs is 10, optim.epochs is 10: the learning rate would"),
        ("optim.epochs=1", "optim.warmup_epochs is 1, optim.epochs is 1"),
        ("data.rand_augment=rand-x7", "data.rand_augment: string should match pattern"),
        ("data.crop_scale=[0.5,2]", "data.crop_scale: value error, shares are at most 1, got [0.5, 2]"),
        ("data.crop_aspect=[2,1]", "data.crop_aspect: value error, a range is two numbers above 0"),
        ("data.mixup_beta=0", "data.mixup_beta: input should be greater than 0, got 0"),
        ("train.select_on=train", "train.select_on: input should be 'val' or 'test', got 'train'"),
    ],
)
def test_a_wrong_setting_is_named(setting, message):
    with pytest.raises(InputError) as caught:
        load_preset("ave-demo", [setting])
    assert message in str(caught.value)


def test_a_task_that_is_not_registered_is_named():
    content = load_preset("ave-demo").model_dump(mode="json") | {"task": "smell"}
    known = ", ".join(TASKS)
    with pytest.raises(InputError, match=f"task: value error, must be one of {known}, got 'smell'"):
        parse(content, where="config.yaml")


def test_all_faults_are_shown_together():
    with pytest.raises(InputError) as caught:
        load_preset("ave-demo", ["optim.epochs=0", "optim.batch_size=-1", "data.workers=-2"])
    assert all(word in str(caught.value) for word in ("optim.epochs", "optim.batch_size", "data.workers"))


def test_the_resolved_configuration_reads_back():
    config = load_preset("ave-demo", ["train.seed=5"])
    assert parse(config.model_dump(mode="json"), where="test") == config


def test_random_weights_are_one_setting_however_they_are_asked_for():
    asked = load_preset("ave-clip-b16-base", ["model.weights=random"])
    assert asked == load_preset("ave-clip-b16-base", ["model.weights=null"])
    assert asked != load_preset("ave-clip-b16-base")


def test_options_without_effect_in_earlier_runs_are_left_out():
    """Version 0.1 accepted options of other tasks and families in `config.yaml`."""
    stored = load_preset("ave-demo", ["model.classes=5"]).model_dump(mode="json")
    stored["model"] |= {"mask_channels": 64, "window": 7, "weights": "backbone.pth"}
    config = parse(with_earlier_defaults(stored), where="config.yaml")
    assert config.model == {"classes": 5, "weights": "backbone.pth"}


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"mask_chanels": 64}, "'mask_chanels' does not exist; did you mean 'mask_channels'"),
        ({"width": -1, "mask_channels": 64}, "width: -1, expected"),
        ({1: 2}, "model.1.*: .*got 1"),
    ],
)
def test_faulty_options_of_earlier_runs_are_named(faults, message):
    stored = load_preset("ave-demo").model_dump(mode="json") | {"model": faults}
    with pytest.raises(InputError, match=message):
        parse(with_earlier_defaults(stored), where="config.yaml")


@pytest.mark.parametrize(
    ("preset", "setting", "message"),
    [
        ("avss-demo", "data.mixup=0.5", r"data\.mixup is 0\.5, avss cannot be trained with it"),
        ("avss-demo", "data.augment=true", r"data\.augment is True, avss cannot be trained with it"),
        ("avs-demo", "data.augment=true", r"data\.augment is True, avs cannot be trained with it"),
        ("avss-demo", "loss.audio_visual_term=cosine", r"audio_visual_term is cosine, avss has kl alone"),
    ],
)
def test_settings_that_a_task_cannot_be_trained_with_are_refused(preset, setting, message):
    with pytest.raises(InputError, match=message):
        load_preset(preset, [setting, "loss.audio_visual=0.5"])
