"""Pre-trained weights from files in the layouts they are published in, and what happens to the wrong file."""

from __future__ import annotations

import hashlib
import re
import warnings
import zipfile

import pytest
import timm
import torch
from safetensors.torch import save_file
from stgcma.errors import InputError, StgcmaError
from stgcma.model import (
    ModelConfig,
    build_from_config,
    build_model,
    import_reference,
    load_model,
    save_checkpoint,
)
from stgcma.model.backbones import clip, swin_names
from torch import nn


def published(helpers, family, **overrides):
    """A configuration and a full set of random weights for it, under timm's names."""
    config = ModelConfig.from_dict(getattr(helpers, family)(**overrides))
    backbone = build_from_config(config.replace(backbone_seed=7)).encoder.backbone
    return config, {name: p.detach().clone() for name, p in backbone.named_parameters()}


def openai(config, tensors):
    """OpenAI's state dict: the tower's names, a projection and something of the text tower."""
    inverse = {ours: theirs for theirs, ours in clip.trunk_names(config.backbone).items()}
    layout = {f"visual.{inverse[name]}": tensor for name, tensor in tensors.items()}
    for name, dimensions in (("class_embedding", (0, 0)), ("positional_embedding", (0,))):
        for dimension in dimensions:
            layout[f"visual.{name}"] = layout[f"visual.{name}"].squeeze(dimension)
    return {**layout, "visual.proj": torch.zeros(4, 4), "text_projection": torch.zeros(4, 4)}


def microsoft(config, tensors):
    """Microsoft's layout: a wrapper, a downsampling at the end of a stage, computed buffers, a classifier."""
    inverse = {ours: theirs for theirs, ours in swin_names.trunk_names(config.backbone).items()}
    layout = {inverse[name]: tensor for name, tensor in tensors.items()}
    layout["layers.0.blocks.1.attn_mask"] = torch.zeros(1)
    layout["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(1, dtype=torch.int64)
    return {"model": {**layout, "head.weight": torch.zeros(3, 3), "head.bias": torch.zeros(3)}}


class Archive(nn.Module):
    """Something with a state dict of given names, as a TorchScript archive needs a module for."""

    def __init__(self, tensors):
        super().__init__()
        for name, tensor in tensors.items():
            *path, leaf = name.split(".")
            module = self
            for part in path:
                if part not in module._modules:
                    module.add_module(part, nn.Module())
                module = module._modules[part]
            module.register_parameter(leaf, nn.Parameter(tensor))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def write(layout, path, config, tensors):
    if layout == "openai":
        torch.save(openai(config, tensors), path)
    elif layout == "openai-torchscript":
        torch.jit.script(Archive(openai(config, tensors))).save(str(path))
    elif layout == "microsoft":
        torch.save(microsoft(config, tensors), path)
    elif layout == "timm":
        torch.save({"state_dict": {**tensors, "head.fc.weight": torch.zeros(2, 2)}}, path)
    else:
        save_file(tensors, path)


@pytest.mark.parametrize(
    ("family", "layout", "suffix"),
    [
        ("clip_fields", "openai", "pt"),
        ("clip_fields", "openai-torchscript", "pt"),
        ("clip_fields", "timm", "pth"),
        ("clip_fields", "timm-safetensors", "safetensors"),
        ("swin_fields", "microsoft", "pth"),
        ("swin_fields", "timm", "pth"),
        ("swin_fields", "timm-safetensors", "safetensors"),
    ],
)
def test_published_layouts(helpers, tmp_path, family, layout, suffix):
    config, tensors = published(helpers, family, **({"depths": (2, 1, 1, 1)} if "swin" in family else {}))
    file = tmp_path / f"weights.{suffix}"
    write(layout, file, config, tensors)
    if layout == "openai-torchscript":
        assert any(name.endswith("constants.pkl") for name in zipfile.ZipFile(file).namelist())
    model = helpers.teach(build_from_config(config, weights=file))
    for name, tensor in tensors.items():
        if not (family == "clip_fields" and name.startswith("norm.")):  # CLIP's last norm is trained
            assert torch.equal(model.encoder.backbone.get_parameter(name), tensor), name
    source = model.backbone_source
    assert (source["kind"], source["weights"]) == ("file", str(file))
    assert source["file_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    stem = model.encoder.audio_stem.weight
    image = tensors["patch_embed.proj.weight"]
    reduced = image.sum(1, keepdim=True) if family == "clip_fields" else image.mean(1, keepdim=True)
    torch.testing.assert_close(stem.detach(), reduced)

    save_checkpoint(model, tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint/backbone.safetensors").exists()
    inputs = helpers.draw_inputs(config)
    loaded = load_model(tmp_path / "checkpoint", weights=file)
    assert torch.equal(loaded(**inputs)["logits"], model.eval()(**inputs)["logits"])
    assert loaded.backbone_source["sha256"] == source["sha256"]
    # A checkpoint that is handed on names no place of this machine: the file is given, or lies in its folder.
    assert str(tmp_path) not in (tmp_path / "checkpoint/model.json").read_text()
    beside = tmp_path / "checkpoint" / file.name
    with pytest.raises(InputError, match=re.escape(f"{beside}: no such file") + ".*the option weights"):
        load_model(tmp_path / "checkpoint")
    file.rename(beside)
    assert load_model(tmp_path / "checkpoint").backbone_source["sha256"] == source["sha256"]


def test_half_precision_files_become_float32(helpers, tmp_path):
    config, tensors = published(helpers, "clip_fields")
    torch.save({name: tensor.half() for name, tensor in openai(config, tensors).items()}, tmp_path / "w.pt")
    weight = build_from_config(config, weights=tmp_path / "w.pt").encoder.backbone.blocks[0].mlp.fc1.weight
    assert weight.dtype == torch.float32


def test_the_wrong_file_says_what_does_not_fit(helpers, tmp_path):
    config, tensors = published(helpers, "clip_fields")
    _, others = published(helpers, "swin_fields")
    file = tmp_path / "weights.safetensors"
    save_file(others, file)
    with pytest.raises(InputError, match=r"missing cls_token; .* and \d+ more"):
        build_from_config(config, weights=file)
    save_file({**tensors, "norm.weight": torch.zeros(3)}, file)
    with pytest.raises(InputError, match=r"norm\.weight has shape \[3\], expected \[16\]"):
        build_from_config(config, weights=file)
    file.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="not a readable safetensors file"):
        build_from_config(config, weights=file)
    with pytest.raises(InputError, match="no such file; expected weights as"):
        build_from_config(config, weights=tmp_path / "nowhere.pt")


def legacy_pickle(tensors, path):
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


def cut_short(save):
    """A file that `save` writes, without its second half."""

    def write(path):
        save({"weight": torch.zeros(50)}, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return write


def archive_of_nothing(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/constants.pkl", b"x")


DAMAGED = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello\n"),
    "a page that says not found": lambda path: path.write_text("<!DOCTYPE html><title>404</title>"),
    "one byte": lambda path: path.write_bytes(b"\x80"),
    "legacy, cut short": cut_short(legacy_pickle),
    "cut short": cut_short(torch.save),
    "zip of something else": lambda path: zipfile.ZipFile(path, "w").close(),
    "TorchScript in name only": archive_of_nothing,
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_files_are_input_errors(helpers, tmp_path, damage):
    file = tmp_path / "weights.pth"
    DAMAGED[damage](file)
    with pytest.raises(InputError, match=r"weights\.pth: not readable as weights \(\w+\)") as caught:
        build_from_config(ModelConfig.from_dict(helpers.clip_fields()), weights=file)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)  # torch advises to set it to False


def test_what_is_no_state_dict_is_named(helpers, tmp_path):
    config, file = ModelConfig.from_dict(helpers.clip_fields()), tmp_path / "weights.pth"
    for content, message in (
        ({3: torch.zeros(1)}, "3: no named tensors"),
        ({"epoch": 3}, "epoch: no named tensors"),
        ([torch.zeros(1)], "holds list, expected a state dict"),
        ({}, "holds dict, expected a state dict"),
    ):
        torch.save(content, file)
        with pytest.raises(InputError, match=message):
            build_from_config(config, weights=file)


class Trap(nn.Module):
    """TorchScript whose reader runs `__setstate__`."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    @torch.jit.export
    def __getstate__(self):
        return self.training

    @torch.jit.export
    def __setstate__(self, state: bool):
        self.training = state
        raise ValueError("this must not run")


def test_code_in_torchscript_is_not_run(helpers, tmp_path):
    file = tmp_path / "trap.pt"
    torch.jit.script(Trap()).save(str(file))
    with pytest.raises(Exception, match="this must not run"):
        torch.jit.load(file)  # the trap is one
    with pytest.raises(InputError, match="`__setstate__`, code that reading would run; refused"):
        build_from_config(ModelConfig.from_dict(helpers.clip_fields()), weights=file)


def test_torchscript_is_taken_for_clip_alone(helpers, tmp_path):
    config, tensors = published(helpers, "clip_fields")
    file = tmp_path / "weights.pt"
    write("openai-torchscript", file, config, tensors)
    with pytest.raises(InputError, match="TorchScript, which only CLIP's weights come as"):
        build_from_config(ModelConfig.from_dict(helpers.swin_fields()), weights=file)
    with pytest.raises(InputError, match="TorchScript, which only CLIP's weights come as"):
        import_reference(file, tmp_path / "out", heads=2)


def test_code_in_a_pickle_is_not_run(helpers, tmp_path):
    class Trap:
        def __reduce__(self):
            return print, ("this must not run",)

    torch.save({"weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(InputError, match="not readable as weights"):
        build_from_config(ModelConfig.from_dict(helpers.clip_fields()), weights=tmp_path / "trap.pth")


def test_timm_weights_by_name(helpers, monkeypatch, tmp_path):
    config, tensors = published(helpers, "swin_fields", timm_name="swin_of_this_test")
    backbone = build_from_config(config.replace(backbone_seed=7)).encoder.backbone
    asked = []
    monkeypatch.setattr(timm, "create_model", lambda name, **_: asked.append(name) or backbone)
    model = build_from_config(config, weights="timm")
    assert asked == ["swin_of_this_test"]
    assert torch.equal(model.encoder.backbone.norm.weight, tensors["norm.weight"])
    assert model.backbone_source["timm_name"] == "swin_of_this_test"
    save_checkpoint(model, tmp_path)
    assert load_model(tmp_path).backbone_source == model.backbone_source

    def offline(*_, **__):
        raise OSError("no route to the hub")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(StgcmaError, match=r"swin_of_this_test is not to be had \(no route to the hub\)"):
        build_from_config(config, weights="timm")
    with pytest.raises(InputError, match="has no published weights"):
        build_from_config(config.replace(timm_name=None), weights="timm")


def test_timm_weights_for_another_activation_are_refused(helpers, monkeypatch):
    config, _ = published(helpers, "clip_fields", timm_name="clip_of_this_test")
    with_gelu = config.replace(activation="gelu")
    backbone = build_from_config(with_gelu, weights="random").encoder.backbone
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: backbone)
    build_from_config(with_gelu, weights="timm")
    with pytest.raises(
        InputError,
        match="clip_of_this_test is built with GELU, the backbone with QuickGELU; change",
    ):
        build_from_config(config, weights="timm")


def test_random_weights_for_a_published_backbone_are_said():
    small = {"width": 16, "heads": (2,), "depths": (1,)}
    with pytest.warns(
        UserWarning, match="ave-clip-l14-base is drawn at random; weights='timm' loads"
    ) as said:
        quiet = build_model("ave-clip-l14-base", **small)
    assert said[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wanted = build_model("ave-clip-l14-base", weights="random", **small)
        build_model("ave-demo", **small)  # nothing was published for it
    assert wanted.backbone_source == quiet.backbone_source
    assert wanted.backbone_source["kind"] == "random"
