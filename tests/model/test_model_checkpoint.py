"""Adapter checkpoints: what they hold, what they refuse."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from stgcma.errors import InputError
from stgcma.model import ModelConfig, TrainedOn, build_from_config, load_model, save_checkpoint


@pytest.fixture
def model(helpers):
    return helpers.teach(build_from_config(ModelConfig.from_dict(helpers.clip_fields()))).eval()


@pytest.fixture
def folder(model, tmp_path):
    save_checkpoint(model, tmp_path / "run/checkpoints/best", backbone_folder=tmp_path / "run/checkpoints")
    return tmp_path / "run/checkpoints/best"


def test_round_trip_gives_the_same_numbers(helpers, model, folder):
    inputs = helpers.draw_inputs(model.config)
    for path in (folder, folder / "adapters.safetensors", folder.parent.parent):
        loaded = load_model(path)
        assert loaded.config == model.config
        assert not loaded.training
        assert torch.equal(loaded(**inputs)["logits"], model(**inputs)["logits"])


def test_holds_what_is_trained_and_nothing_else(model, folder):
    groups = model.parameter_groups()
    assert set(load_file(folder / "adapters.safetensors")) == set(groups["adapter"]) | set(groups["head"])
    assert set(load_file(folder.parent / "backbone.safetensors")) == {
        name for name in model.frozen_tensors() if name.startswith("encoder.backbone.")
    }
    assert json.loads((folder / "model.json").read_text())["backbone"]["file"] == "../backbone.safetensors"


def test_same_model_same_bytes(model, folder):
    save_checkpoint(model, folder.parent / "last", backbone_folder=folder.parent)
    for name in ("adapters.safetensors", "model.json"):
        assert (folder.parent / "last" / name).read_bytes() == (folder / name).read_bytes()
    assert not list(folder.parent.rglob(".*"))


def test_adapters_file_is_enough_without_the_json(model, folder):
    (folder / "model.json").unlink()
    assert load_model(folder).config == model.config


def test_refuses_another_backbone(helpers, model, folder, tmp_path):
    other = build_from_config(ModelConfig.from_dict(helpers.clip_fields(backbone_seed=1)))
    save_checkpoint(other, tmp_path / "other")
    shutil.copy(tmp_path / "other/backbone.safetensors", folder.parent / "backbone.safetensors")
    with pytest.raises(InputError, match=model.backbone_source["sha256"][:12]):
        load_model(folder)
    with pytest.raises(InputError, match="keeps another backbone"):
        save_checkpoint(model, folder, backbone_folder=tmp_path / "other")


def test_says_what_is_missing(folder, tmp_path):
    with pytest.raises(
        InputError, match=r"nowhere: no checkpoint; expected a folder with adapters\.safetensors"
    ):
        load_model(tmp_path / "nowhere")
    description = json.loads((folder / "model.json").read_text())
    rewrite(folder, description | {"backbone": description["backbone"] | {"kind": "imported"}})
    (folder.parent / "backbone.safetensors").unlink()
    with pytest.raises(InputError, match=r"backbone\.safetensors: no such file"):
        load_model(folder)


def rewrite(folder, description):
    """Gives the checkpoint another description, in both places."""
    adapters = folder / "adapters.safetensors"
    save_file(load_file(adapters), adapters, {"stgcma": json.dumps(description)})
    (folder / "model.json").write_text(json.dumps(description))


def test_a_random_backbone_that_was_left_behind_is_drawn_again(helpers, model, folder, tmp_path):
    handed_on = tmp_path / "handed-on"
    shutil.copytree(folder, handed_on)
    inputs = helpers.draw_inputs(model.config)
    assert torch.equal(load_model(handed_on)(**inputs)["logits"], model(**inputs)["logits"])
    description = json.loads((folder / "model.json").read_text())
    description["backbone"]["sha256"] = "0" * 64
    rewrite(handed_on, description)
    with pytest.raises(InputError, match=r"trained on the backbone 000000000000… .* from its seed"):
        load_model(handed_on)


@pytest.fixture
def of_file(helpers, tmp_path):
    """A model whose backbone was read from a file, and that file."""
    config = ModelConfig.from_dict(helpers.clip_fields())
    path = tmp_path / "source" / "weights.safetensors"
    path.parent.mkdir()
    backbone = build_from_config(config.replace(backbone_seed=3)).encoder.backbone
    save_file(dict(backbone.named_parameters()), path)
    return helpers.teach(build_from_config(config, weights=path)).eval(), path


def test_no_path_of_this_machine_is_in_a_checkpoint(of_file, tmp_path):
    model, path = of_file
    save_checkpoint(model, tmp_path / "out")
    text = (tmp_path / "out/model.json").read_text()
    assert json.loads(text)["backbone"]["weights"] == "weights.safetensors"
    for file in (tmp_path / "out").iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()
    with pytest.raises(
        InputError, match=r"no such file; the checkpoint .*out was trained on it; give its place"
    ):
        load_model(tmp_path / "out")
    assert load_model(tmp_path / "out", weights=path).backbone_source["kind"] == "file"
    # Handed on with its backbone beside it, it is found.
    shutil.copy(path, tmp_path / "out")
    assert load_model(tmp_path / "out").backbone_source["sha256"] == model.backbone_source["sha256"]


def test_a_run_folder_knows_where_its_backbone_was(of_file, tmp_path):
    model, path = of_file
    save_checkpoint(model, tmp_path / "run/checkpoints/best")
    (tmp_path / "run/run.json").write_text(json.dumps({"backbone": model.backbone_source}))
    assert load_model(tmp_path / "run").backbone_source["kind"] == "file"
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        load_model(tmp_path / "run")


TRAINED_ON = TrainedOn(
    collection="ave",
    preset="ave-demo",
    classes=("Bark", "Background"),
    vocabulary={},
    features={"sampling": {"frames": 3}},
    clip_seconds=10.0,
    fbank="fbank_128",
    fbank_mean=-4.0,
    fbank_std=3.0,
    image_mean=(0.5, 0.5, 0.5),
    image_std=(0.25, 0.25, 0.25),
)


def test_what_a_model_was_trained_on_goes_with_it(model, tmp_path):
    model.trained_on = TRAINED_ON
    save_checkpoint(model, tmp_path)
    assert load_model(tmp_path).trained_on == TRAINED_ON
    assert json.loads((tmp_path / "model.json").read_text())["trained_on"]["classes"] == [
        "Bark",
        "Background",
    ]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("classes", "Bark", "trained_on.classes is 'Bark', expected a list of texts"),
        ("fbank_std", 0, "trained_on.fbank_std is 0, expected a number above 0"),
        ("fbank_mean", "low", "trained_on.fbank_mean is 'low', expected a number"),
        ("image_std", [1, 1], "trained_on.image_std is [1, 1], expected three numbers above 0"),
        ("vocabulary", {"words": []}, "trained_on.vocabulary is {'words': []}, expected words and answers"),
        ("precision", "fp8", "trained_on.precision is 'fp8', expected fp32, bf16 or fp16"),
        ("clip_seconds", "x" * 500, "…, expected a number above 0"),
    ],
)
def test_a_wrong_account_of_the_data_is_named(model, tmp_path, name, value, message):
    model.trained_on = TRAINED_ON
    save_checkpoint(model, tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").unlink()
    description["trained_on"][name] = value
    adapters = tmp_path / "adapters.safetensors"
    save_file(load_file(adapters), adapters, {"stgcma": json.dumps(description)})
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        load_model(tmp_path)
    assert len(str(caught.value)) < 500


def test_damaged_files_are_input_errors(folder):
    (folder / "model.json").write_text("{")
    with pytest.raises(InputError, match=r"model\.json: no readable description"):
        load_model(folder)
    (folder / "model.json").unlink()
    (folder / "adapters.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(InputError, match=r"adapters\.safetensors: no readable description"):
        load_model(folder)


def test_the_two_descriptions_must_agree(folder):
    description = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(description))  # another layout says the same
    load_model(folder)
    description["config"]["adapter"]["temporal"] = False
    (folder / "model.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match=r"model\.json: not what the header of adapters\.safetensors says"):
        load_model(folder)


def change(description, path, value):
    *outer, last = path.split(".")
    for name in outer:
        description = description[name]
    if value is None:
        del description[last]
    else:
        description[last] = value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "checkpoint format 2, expected 1"),
        ({"format_version": None}, "checkpoint format None, expected 1"),
        ({"config": None}, "config is None, expected fields"),
        ({"config.backbone.depths": None}, "adapters.safetensors: model configuration: depths missing"),
        ({"config.frames": 99}, "adapters.safetensors: frames: 99, expected 1 to 32"),
        ({"backbone": "random"}, "backbone is 'random', expected fields"),
        (
            {"backbone.kind": "stolen"},
            "backbone.kind is 'stolen', expected one of random, imported, timm, file",
        ),
        ({"backbone.sha256": None}, "backbone.sha256 is None, expected text"),
        ({"backbone.file": None}, "backbone.file is None, expected text"),
        ({"backbone.kind": "file"}, "backbone.weights is None, expected text"),
        ({"backbone.kind": "timm"}, "backbone.weights is None, expected text"),
    ],
)
def test_incomplete_descriptions_say_what_is_missing(folder, changes, message):
    (folder / "model.json").unlink()
    adapters = folder / "adapters.safetensors"
    tensors = load_file(adapters)
    with safe_open(adapters, framework="pt") as file:
        description = json.loads(file.metadata()["stgcma"])
    for path, value in changes.items():
        change(description, path, value)
    save_file(tensors, adapters, {"stgcma": json.dumps(description)})
    with pytest.raises(InputError, match=re.escape(message)):
        load_model(folder)


def test_a_damaged_backbone_is_replaced_unless_others_depend_on_it(model, tmp_path):
    save_checkpoint(model, tmp_path / "run")
    kept = tmp_path / "run/backbone.safetensors"
    whole = kept.read_bytes()
    for damage in (b"", b"nonsense", whole[:20]):
        kept.write_bytes(damage)
        with pytest.raises(InputError, match=r"backbone_folder: .*backbone\.safetensors is damaged"):
            save_checkpoint(model, tmp_path / "run/last", backbone_folder=tmp_path / "run")
        save_checkpoint(model, tmp_path / "run")
        assert kept.read_bytes() == whole


def test_a_file_in_the_folders_place_is_named(model, tmp_path):
    (tmp_path / "out").write_text("something of value")
    for folder in (tmp_path / "out", tmp_path / "out/below"):
        with pytest.raises(InputError, match=re.escape(f"{folder}: is a file or lies below one")):
            save_checkpoint(model, folder)
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / 'out'}: is a file")):
        save_checkpoint(model, tmp_path / "run", backbone_folder=tmp_path / "out")
    assert (tmp_path / "out").read_text() == "something of value"
