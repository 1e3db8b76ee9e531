"""Adapter checkpoints: what they hold, what they refuse."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
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
    with pytest.raises(InputError, match=r"backbone\.safetensors: missing"):
        load_model(folder)


def test_damaged_files_are_input_errors(folder):
    (folder / "model.json").write_text("{")
    with pytest.raises(InputError, match="no readable description"):
        load_model(folder)
    (folder / "model.json").unlink()
    (folder / "adapters.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(InputError, match="no readable description"):
        load_model(folder)
