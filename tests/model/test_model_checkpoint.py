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
from stgcma.model import ModelConfig, build_from_config, load_model, save_checkpoint


@pytest.fixture
def model(helpers):
    return helpers.teach(build_from_config(ModelConfig(**helpers.clip_fields()))).eval()


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
    other = build_from_config(ModelConfig(**helpers.clip_fields(backbone_seed=1)))
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
    (folder.parent / "backbone.safetensors").unlink()
    with pytest.raises(InputError, match=r"backbone\.safetensors: no such file"):
        load_model(folder)


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
    description["config"]["temporal"] = False
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
        ({"config.depths": None}, "adapters.safetensors: model configuration: depths missing"),
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
