"""What holds for every model: shapes, what is trained, what is refused, and the frozen start."""

from __future__ import annotations

import itertools

import pytest
import torch
from stgcma.model import ModelConfig, build_from_config, build_model

FAMILIES = ["clip_fields", "swin_fields"]


def build(fields, **overrides):
    return build_from_config(ModelConfig(**{**fields, **overrides}))


def variants():
    for family, modality in itertools.product(FAMILIES, ("av", "av-nofusion", "video", "audio")):
        yield family, "ave", modality
    for task, modality in itertools.product(("avs", "avqa"), ("av", "av-nofusion")):
        yield "swin_fields", task, modality


@pytest.mark.parametrize(("family", "task", "modality"), list(variants()))
def test_variant_runs_and_declares_every_parameter_once(helpers, family, task, modality):
    model = helpers.teach(build(getattr(helpers, family)(), task=task, modality=modality)).train()
    config = model.config
    outputs = model(**helpers.draw_inputs(config, 2, negative=True))
    expected = {
        "ave": {"logits": (2, config.frames, 5)},
        "avs": {"mask_logits": (2, config.frames, 1, 64, 64)},
        "avqa": {"answer_logits": (2, 6), "match_positive": (4, 2), "match_negative": (4, 2)},
    }[task]
    assert {name: tuple(x.shape) for name, x in outputs.items()} == expected

    sum(x.square().sum() for x in outputs.values()).backward()
    groups = model.parameter_groups()
    sides = [set(map(id, groups["adapter"].values())), set(map(id, groups["head"].values()))]
    sides.append(set(map(id, model.frozen_tensors().values())))
    assert sum(map(len, sides)) == len(set.union(*sides)) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        trained = id(parameter) not in sides[2]
        assert parameter.requires_grad == trained, name
        assert (parameter.grad is not None) == trained, name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("modality", ["av", "video"])
def test_what_is_switched_off_has_no_parameters(helpers, family, modality):
    fields = getattr(helpers, family)(modality=modality)
    names = {n for n, _ in build(fields).named_parameters()}
    for step, word in (("temporal", "temporal"), ("spatial", ".spatial."), ("global_", ".global_.")):
        model = helpers.teach(build(fields, **{step: False}))
        assert {n for n, _ in model.named_parameters()} == {n for n in names if word not in n}
        model(**helpers.draw_inputs(model.config))
    bare = build(fields, temporal=False, spatial=False, global_=False)
    assert not [n for n, _ in bare.named_parameters() if "adapters" in n or "temporal" in n]
    without = build(fields, spatial=False, global_=False)
    assert not [n for n, _ in without.named_parameters() if "gates" in n]


@pytest.mark.parametrize("family", FAMILIES)
def test_fusion_is_the_only_way_between_the_modalities(helpers, family):
    for modality in ("av", "av-nofusion"):
        model = helpers.teach(build(getattr(helpers, family)(modality=modality))).eval()
        inputs = helpers.draw_inputs(model.config)
        before = model.encoder(inputs).pooled["video"]
        inputs["audio"] = inputs["audio"] + 1
        assert torch.equal(before, model.encoder(inputs).pooled["video"]) == (modality == "av-nofusion")


@pytest.mark.parametrize("family", FAMILIES)
def test_untrained_is_the_frozen_backbone_bit_for_bit(helpers, family):
    for modality in ("video", "av"):
        model = build(getattr(helpers, family)(modality=modality)).eval()
        inputs = helpers.draw_inputs(model.config)
        frames = inputs["video"].flatten(0, 1)
        expected = model.encoder.backbone.forward_features(frames)
        pooled = expected[:, 0] if family == "clip_fields" else expected.flatten(1, 2).mean(1)
        ours = model.encoder(inputs).pooled["video"].flatten(0, 1)
        assert torch.equal(ours, pooled)


@pytest.mark.parametrize("family", FAMILIES)
def test_batch_of_clips_is_the_clips_one_by_one(helpers, family):
    model = helpers.teach(build(getattr(helpers, family)())).eval()
    inputs = helpers.draw_inputs(model.config, 3)
    together = model(**inputs)["logits"]
    for i in range(3):
        alone = model(**{name: x[i : i + 1] for name, x in inputs.items()})["logits"][0]
        torch.testing.assert_close(together[i], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 5, 17, 32])
def test_any_number_of_steps(helpers, frames):
    model = helpers.teach(build(helpers.clip_fields(frames=frames))).eval()
    assert model(**helpers.draw_inputs(model.config, 1))["logits"].shape == (1, frames, 5)


def test_any_number_of_steps_swin(helpers):
    for frames in (1, 3):
        model = helpers.teach(build(helpers.swin_fields(frames=frames))).eval()
        assert model(**helpers.draw_inputs(model.config, 1))["logits"].shape == (1, frames, 5)
        table = model.encoder.adapters[0][0].temporal_bias["video"]
        assert table.shape == (2 * frames - 1, 1)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"video": (2, 4, 3, 64, 64)}, r"video: shape \[2, 4, 3, 64, 64\], expected \[2, 3, 3, 64, 64\]"),
        ({"video": (3, 3, 64, 64)}, r"video: shape \[3, 3, 64, 64\], expected \[B, 3, 3, 64, 64\]"),
        ({"video": (0, 3, 3, 64, 64)}, r"video: shape \[0, 3, 3, 64, 64\], expected \[B, 3"),
        ({"audio": (1, 3, 70, 128)}, r"audio: shape \[1, 3, 70, 128\], expected \[2, 3, 70, 128\]"),
        ({"audio": (2, 3, 102, 128)}, r"audio: shape \[2, 3, 102, 128\], expected \[2, 3, 70, 128\]"),
        ({"audio": None}, r"audio: missing, expected a tensor \[B, 3, 70, 128\]"),
        ({"question": (2, 14)}, r"question: given, but this ave model takes video, audio"),
    ],
)
def test_wrong_inputs_are_named(helpers, inputs, message):
    model = build(helpers.clip_fields())
    given = helpers.draw_inputs(model.config)
    for name, shape in inputs.items():
        given[name] = None if shape is None else torch.zeros(shape)
    with pytest.raises(ValueError, match=message):
        model(**given)


def test_wrong_dtypes_are_named(helpers):
    model = build(helpers.swin_fields(task="avqa"))
    inputs = helpers.draw_inputs(model.config)
    with pytest.raises(ValueError, match="question: dtype float32, expected int64"):
        model(**{**inputs, "question": inputs["question"].float()})
    with pytest.raises(ValueError, match="video: dtype uint8, expected float32"):
        model(**{**inputs, "video": inputs["video"].byte()})


def test_negative_frames_teach_the_head_but_not_the_encoder(helpers):
    model = helpers.teach(build(helpers.swin_fields(task="avqa", drop_path=0.0))).eval()
    outputs = model(**helpers.draw_inputs(model.config, negative=True))
    assert "match_negative" not in model(**helpers.draw_inputs(model.config))
    outputs["match_negative"].sum().backward()
    video = {n: p for n, p in model.parameter_groups()["adapter"].items() if ".temporal.video." in n}
    # s_t is the clip's own, so the audio side does learn; the frames' adapters hear of it only by exchange.
    last = "encoder.adapters.3.1.global_.video.fc2.weight"
    assert video
    assert model.get_parameter(last).grad.abs().max() == 0
    assert model.head.video.weight.grad.abs().max() > 0


def test_modes_leave_the_frozen_weights_alone(helpers):
    model = helpers.teach(build(helpers.swin_fields(task="avs"))).train()
    frozen = {n: p.clone() for n, p in model.frozen_tensors().items()}
    running = model.head.tpavi[0].batch_norm.running_mean.clone()
    model(**helpers.draw_inputs(model.config))["mask_logits"].sum().backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1).step()
    assert all(torch.equal(frozen[n], p) for n, p in model.frozen_tensors().items())
    assert not torch.equal(running, model.head.tpavi[0].batch_norm.running_mean)


def test_random_backbone_has_its_own_generator():
    torch.manual_seed(5)
    first, state = build_model("ave-demo"), torch.get_rng_state()
    torch.manual_seed(5)
    second = build_model("ave-demo", backbone_seed=1)
    assert torch.equal(state, torch.get_rng_state())
    assert first.backbone_source["sha256"] != second.backbone_source["sha256"]
    assert torch.equal(first.head.layers[0].weight, second.head.layers[0].weight)


def test_random_features_tell_images_apart():
    """timm's own init makes a random transformer map all images to nearly one vector."""
    model = build_model("ave-demo", frames=1).eval()
    generator = torch.Generator().manual_seed(0)
    video = torch.rand(8, 1, 3, 1, 1, generator=generator).expand(-1, -1, -1, 224, 224)
    audio = torch.randn(8, 1, 102, 128, generator=generator)
    features = model.encoder({"video": video, "audio": audio}).pooled["video"][:, 0]
    assert features.std(0).mean() > 0.1 * features.std()
