"""Records and registries: what others add, and the two forms of a configuration."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from stgcma.errors import InputError
from stgcma.model import (
    ADAPTERS,
    FAMILIES,
    HEADS,
    ModelConfig,
    backbone_names,
    build_from_config,
    find_backbone,
    preset_config,
)
from stgcma.model.adapters.base import BlockAdapter
from stgcma.model.records import IMAGENET_MEAN, IMAGENET_STD, AdapterConfig, AdapterMethod
from stgcma.preprocess.collections.specification import FBANK_KINDS
from stgcma.train.objective import run_model

FIELDS = ("clip_fields", "swin_fields", "swinv2_fields", "vit_fields")


def test_every_record_reads_an_fbank_that_preprocess_makes():
    for name in backbone_names():
        if name.startswith("vit-"):  # read off timm, which takes time; see test_model_vit.py
            continue
        record = find_backbone(name)
        assert record.audio_shape[0] == FBANK_KINDS[record.fbank].target_frames
        assert (record.image_mean, record.image_std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_names_of_registries_are_those_of_the_records():
    assert all(family.config.family == name for name, family in FAMILIES.items())
    assert all(adapter.config.method == name for name, adapter in ADAPTERS.items())
    assert all(head.config.task == name for name, head in HEADS.items())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("clip-b-16", "backbone 'clip-b-16' is not known; did you mean 'clip-b16'"),
        ("resnet", "backbone 'resnet' is not known; choose from clip-b16, clip-l14"),
        ("swin", "backbone 'swin' is not known; did you mean 'swin-"),
        (["clip-b16"], r"backbone \['clip-b16'\] is not known"),
    ],
)
def test_an_unknown_backbone_names_the_nearest(name, message):
    with pytest.raises(InputError, match=message):
        preset_config("ave-demo", backbone=name)


def test_another_backbone_replaces_the_whole_record():
    config = preset_config("ave-clip-b16-base", backbone="swin-b", drop_path=0.1)
    assert config.backbone == replace(find_backbone("swin-b"), drop_path=0.1)
    assert config.adapter.ratio == (0.0625,) * 4
    assert config.replace(backbone="clip-demo").adapter.ratio == (0.0625,)
    swin = preset_config("ave-swin-b-base", backbone="clip-demo")
    assert swin.adapter.ratio == (0.125,)  # the smallest, that of the widest stage
    with pytest.raises(InputError, match="adapter_ratio"):
        preset_config("ave-swin-b-base", backbone="clip-demo", adapter_ratio=(0.5, 0.5))
    assert config.head == preset_config("ave-clip-b16-base").head


def test_a_family_with_sizes_replaces_the_backbone():
    sizes = {"width": 8, "depths": (1, 1, 1, 1), "heads": (1, 1, 2, 2), "patch": 4}
    config = preset_config("ave-demo", backbone="swin", adapter_ratio=0.25, **sizes)
    family = type(find_backbone("swin-b"))
    assert config.backbone == family(**sizes)  # audio shape and stem are the family's
    sizes = {"depths": (1,), "heads": (1,), "adapter_ratio": 0.5}
    with pytest.raises(InputError, match="model option 'window' does not exist"):
        preset_config("ave-swin-b-base", backbone="clip", window=7, **sizes)


def test_options_of_another_task_are_refused_and_left_out_of_the_records():
    with pytest.raises(InputError, match="model option 'vocabulary' does not exist for the task ave"):
        preset_config("ave-demo", vocabulary=5)
    with pytest.raises(InputError, match=r"model option 'window' does not exist for .* the backbone clip"):
        preset_config("ave-demo", window=4)
    assert preset_config("ave-demo").to_dict()["head"] == {"task": "ave", "classes": 29}


@pytest.mark.parametrize("family", FIELDS)
def test_both_forms_of_a_configuration_are_read(helpers, family):
    """Version 0.1 wrote all options flat, those of other tasks among them."""
    flat = {"mask_channels": 256, "window": 7, "answers": 42, **getattr(helpers, family)()}
    config = ModelConfig.from_dict(flat)
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert ModelConfig.from_dict(config.options()) == config
    assert config.head.classes == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("head"), "head missing"),
        (lambda content: content["backbone"].update(colour=1), r"backbone\.colour not known"),
        (lambda content: content.update(task="ave"), "task not known"),
        (
            lambda content: content["backbone"].update(family="cnn"),
            "backbone: 'cnn', expected one of clip, swin, swinv2, vit",
        ),
        (lambda content: content["backbone"].update(family=["clip"]), "expected one of clip, swin"),
        (lambda content: content["head"].update(classes=10**9), "classes: 1000000000, expected at most"),
        (lambda content: content["backbone"].update(image_std=[1, 0, 1]), "image_std: .* above 0"),
        (lambda content: content["backbone"].update(image_mean=[1, "a", 1]), "image_mean: .* 3 numbers"),
    ],
)
def test_faulty_records_are_named(helpers, change, message):
    content = ModelConfig.from_dict(helpers.clip_fields()).to_dict()
    change(content)
    with pytest.raises(InputError, match=message):
        ModelConfig.from_dict(content)


def test_frames_are_normalised_with_the_statistics_of_the_record(helpers):
    own = {"image_mean": (0.5, 0.25, 0.0), "image_std": (0.5, 0.25, 0.125)}
    model = build_from_config(ModelConfig.from_dict(helpers.clip_fields(modality="video", **own))).eval()
    seen = []
    model.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]["video"]))
    pixels = torch.full(model.config.input_shapes(1)["video"], 255, dtype=torch.uint8)
    run_model(model, {"video": pixels}, "fp32")
    assert seen[0][0, 0, :, 0, 0].tolist() == [1.0, 3.0, 8.0]  # (1 − 0.5) / 0.5, (1 − 0.25) / 0.25, 1 / 0.125


class Scale(BlockAdapter):
    """A sibling of STG-CMA: the frozen block, whose MLP's output is scaled and shifted by modality."""

    def __init__(self, config, site):
        super().__init__()
        self.shift = torch.nn.ParameterList(torch.zeros(site.width) for _ in config.modalities)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x, frozen):
        x = frozen.add(x, frozen.proj(frozen.attend(frozen.norm1(x)).whole))
        z = frozen.mlp(frozen.norm2(x)).view(x.shape)
        parts = [part + shift for part, shift in zip(frozen.split(z), self.shift, strict=True)]
        return frozen.add_tokens(x, frozen.join(parts))


class ScaleConfig(AdapterConfig):
    method = "scale"


@pytest.mark.parametrize("family", FIELDS)
def test_a_sibling_adapter_needs_no_code_of_a_family(helpers, monkeypatch, family):
    config = ModelConfig.from_dict(getattr(helpers, family)())
    config = replace(config, adapter=ScaleConfig())
    entries = {"scale": AdapterMethod(config=ScaleConfig, block=Scale)}
    monkeypatch.setattr("stgcma.model.backbones.encoder.ADAPTERS", entries)
    model = build_from_config(config).eval()
    inputs = helpers.draw_inputs(config)
    before = model.encoder(inputs).pooled
    video = before["video"].flatten(0, 1)
    features = model.encoder.backbone.forward_features(inputs["video"].flatten(0, 1))
    prefix = getattr(model.encoder.backbone, "num_prefix_tokens", 0)
    by_token = model.encoder.backbone.global_pool == "token"
    frozen = features[:, 0] if by_token else features.flatten(1, -2)[:, prefix:].mean(1)
    torch.testing.assert_close(video, frozen, rtol=1e-4, atol=1e-5)  # untrained, it is the frozen backbone
    model(**inputs)["logits"].sum().backward()
    adapters = model.parameter_groups()["adapter"]
    shifts = [p for name, p in adapters.items() if "shift" in name]
    assert shifts
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in shifts)
    assert any(name.endswith(".seen") for name in model.trained_tensors())
    # The two modalities of a block have parameters that act on their tokens alone.
    with torch.no_grad():
        shifts[0].copy_(torch.arange(len(shifts[0])))
    changed = model.encoder(inputs).pooled
    torch.testing.assert_close(changed["audio"], before["audio"])
    assert not torch.allclose(changed["video"].flatten(0, 1), video)


def test_clip_without_an_activation_has_that_of_its_first_weights(helpers):
    fields = ModelConfig.from_dict(helpers.clip_fields()).to_dict()
    assert fields["backbone"].pop("activation") == "quick_gelu"
    config = ModelConfig.from_dict(fields)
    assert type(build_from_config(config).encoder.backbone.blocks[0].mlp.act).__name__ == "QuickGELU"
    with pytest.raises(InputError, match="activation: 'relu'"):
        config.replace(activation="relu")
