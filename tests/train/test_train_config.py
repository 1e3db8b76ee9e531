import pytest
from stgcma.errors import InputError
from stgcma.model import PRESET_NAMES
from stgcma.train.config import load_preset, parse, preset_names


@pytest.mark.parametrize("name", preset_names())
def test_every_committed_preset_is_valid_and_has_an_architecture(name):
    config = load_preset(name)
    assert config.preset == name
    assert name in PRESET_NAMES


def test_settings_go_on_top_of_the_preset():
    config = load_preset("ave-demo", ["optim.adapter_lr=1e-4", "optim.epochs=3"], modality="video")
    assert (config.optim.adapter_lr, config.optim.epochs) == (1e-4, 3)
    assert config.model == {"modality": "video"}
    assert config.optim.task_lr == load_preset("ave-demo").optim.task_lr


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
    with pytest.raises(InputError, match="task: value error, must be one of ave, avqa, avs, got 'smell'"):
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
