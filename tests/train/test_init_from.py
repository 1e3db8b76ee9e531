"""Runs that start from the adapters and the head of another run."""

import json
import shutil

import pytest
import torch
from stgcma.errors import InputError, OtherSettingsError
from stgcma.model import build_model, load_model, save_checkpoint
from stgcma.model.checkpoint import load_trained
from stgcma.train.run import train
from stgcma.train.trainer import Trainer

# One process for all: they share a trained run.
pytestmark = pytest.mark.xdist_group("init-from")

ONE_EPOCH = ("optim.epochs=1", "optim.batch_size=2")


class Stopped(Exception):  # noqa: N818
    """Raised in place of a training."""


@pytest.fixture(scope="module")
def source(earlier_shards, small_config, tmp_path_factory):
    """A run of one epoch, so that nothing has its first value any more."""
    run = tmp_path_factory.mktemp("source") / "run"
    train(earlier_shards / "0.1" / "avs-s4", run, small_config("avs", *ONE_EPOCH, "optim.warmup_epochs=0"))
    return run


@pytest.fixture
def tiny_swin():
    """`tiny_swin(task=…)` is a tiny Swin whose adapters have values of their own."""

    def model(**options):
        made = build_model("avs-demo", "random", **options)
        for _, parameter in made.encoder.trained():
            torch.nn.init.normal_(parameter)
        return made

    return model


@pytest.fixture
def at_step_0(monkeypatch):
    """`at_step_0(shards, run, config, …)` is the model that a training would begin with."""
    models = []

    def begin(trainer):
        trainer._restore()
        models.append(trainer._model)
        raise Stopped

    def model(*arguments, **options):
        with monkeypatch.context() as patched:
            patched.setattr(Trainer, "fit", begin)
            with pytest.raises(Stopped):
                train(*arguments, **options)
        return models[-1]

    return model


def clips(model):
    generator = torch.Generator().manual_seed(0)
    shapes = model.config.input_shapes(2)
    return {name: torch.randn(shapes[name], generator=generator) for name in ("video", "audio")}


def equal(one, other):
    return all(map(torch.equal, one.trained_tensors().values(), other.trained_tensors().values()))


@pytest.mark.parametrize("part", ["", "checkpoints/best"])
def test_the_first_outputs_are_those_of_the_source(
    part, source, kept_shards, small_config, tmp_path, at_step_0
):
    config = small_config("avs", *ONE_EPOCH, "loss.audio_visual=0.5")
    started = at_step_0(kept_shards("avs"), tmp_path / "run", config, init_from=source / part).eval()
    fresh = at_step_0(kept_shards("avs"), tmp_path / "fresh", config).eval()
    trained = load_model(source)
    inputs = clips(trained)
    with torch.inference_mode():
        assert torch.equal(started(**inputs)["mask_logits"], trained(**inputs)["mask_logits"])
        assert not torch.equal(fresh(**inputs)["mask_logits"], trained(**inputs)["mask_logits"])
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert about["init_from"]["path"] == str(source / part)
    assert "init_from" not in json.loads((tmp_path / "fresh" / "run.json").read_text())


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        ("avs", ("model.adapter_ratio=0.5",), r"cannot start this model: adapter_ratio .*, here .*0\.5"),
        ("avs", ("model.backbone_seed=7",), r"it was trained on the backbone \w{12}…, here \w{12}…"),
        ("ave", (), r"cannot start this model: backbone 'swin', here 'clip'"),
    ],
)
def test_another_model_is_refused_in_one_line(
    task, settings, message, source, kept_shards, small_config, tmp_path
):
    config = small_config(task, *ONE_EPOCH, *settings)
    with pytest.raises(InputError, match=message) as error:
        train(kept_shards(task), tmp_path / "run", config, init_from=source)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_head_that_differs_is_new_and_said_so(
    source, kept_shards, small_config, tmp_path, at_step_0, capsys
):
    config = small_config("avs", *ONE_EPOCH, "model.mask_channels=16")
    fresh = at_step_0(kept_shards("avs"), tmp_path / "fresh", config).trained_tensors()
    capsys.readouterr()
    started = at_step_0(kept_shards("avs"), tmp_path / "run", config, init_from=source).trained_tensors()
    said = [line for line in capsys.readouterr().err.splitlines() if "the head is new" in line]
    assert said == [f"{source} gives the adapters; the head is new: mask_channels 8, here 16"]
    trained = load_model(source).trained_tensors()
    for name, tensor in started.items():
        assert torch.equal(tensor, (fresh if name.startswith("head.") else trained)[name]), name


def test_adapters_serve_another_task(tiny_swin, tmp_path):
    """The encoder is the same, so that its tensors fit, whatever the head."""
    source = tiny_swin(task="avs")
    save_checkpoint(source, tmp_path)
    other = tiny_swin(task="ave")
    head = {name: tensor.clone() for name, tensor in other.head.state_dict().items()}
    started = load_trained(other, tmp_path)
    assert started.new_head.startswith("task 'avs', here 'ave'")
    assert all(
        map(torch.equal, dict(source.encoder.trained()).values(), dict(other.encoder.trained()).values())
    )
    assert all(torch.equal(tensor, head[name]) for name, tensor in other.head.state_dict().items())


def test_a_folder_without_a_checkpoint_is_named(kept_shards, small_config, tmp_path):
    config = small_config("avs", *ONE_EPOCH)
    with pytest.raises(InputError, match="nothing: no checkpoint; expected a folder"):
        train(kept_shards("avs"), tmp_path / "run", config, init_from=tmp_path / "nothing")


def test_a_run_that_was_stopped_before_its_first_state_starts_from_the_source_again(
    source, kept_shards, small_config, tmp_path, at_step_0
):
    shards, run, config = kept_shards("avs"), tmp_path / "run", small_config("avs", *ONE_EPOCH)
    copy = shutil.copytree(source, tmp_path / "copy")
    stopped = at_step_0(shards, run, config, init_from=copy)
    assert equal(stopped, at_step_0(shards, run, config, resume=True))
    other = load_model(copy)
    for _, parameter in other.encoder.trained():
        torch.nn.init.ones_(parameter)
    save_checkpoint(other, copy / "checkpoints" / "best")
    with pytest.raises(OtherSettingsError, match=r"adapters\.safetensors has changed since; the option"):
        train(shards, run, config, resume=True)


def test_a_resumed_run_continues_its_own_state(source, kept_shards, small_config, tmp_path, at_step_0):
    shards, run, config = kept_shards("avs"), tmp_path / "run", small_config("avs", *ONE_EPOCH)
    copy = shutil.copytree(source, tmp_path / "copy")
    train(shards, run, config, init_from=copy)
    (run / "summary.json").unlink()
    for options in ({"init_from": copy}, {"init_from": source}, {}):  # the second has the same weights
        resumed = at_step_0(shards, run, config, resume=True, **options)
        assert equal(resumed, load_model(run / "checkpoints" / "last"))
        assert not equal(resumed, load_model(source))
    other = shutil.copytree(source, tmp_path / "other")
    (other / "checkpoints" / "best" / "adapters.safetensors").write_bytes(b"other weights")
    with pytest.raises(OtherSettingsError, match=r"cannot be resumed: init_from was '.*copy', is '"):
        train(shards, run, config, resume=True, init_from=other)
    shutil.rmtree(copy)
    assert equal(resumed, at_step_0(shards, run, config, resume=True))  # the source is not read again
    assert json.loads((run / "run.json").read_text())["init_from"]["path"] == str(copy)
    with pytest.raises(OtherSettingsError, match="init_from was not given, is "):
        train(shards, source, small_config("avs", *ONE_EPOCH), resume=True, init_from=run)
