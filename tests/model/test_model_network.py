"""Properties of every model: shapes, trained parameters, refused inputs, and the frozen start."""

from __future__ import annotations

import itertools
import re

import pytest
import torch
from stgcma.model import ModelConfig, build_from_config, build_model
from stgcma.model.backbones.flat import audio_positions
from timm.layers import set_fused_attn, use_fused_attn

FAMILIES = ["clip_fields", "swin_fields", "swinv2_fields", "vit_fields"]


def build(fields, **overrides):
    return build_from_config(ModelConfig.from_dict({**fields, **overrides}))


def variants():
    for family, modality in itertools.product(FAMILIES, ("av", "av-nofusion", "video", "audio")):
        yield family, "ave", modality
    for task, modality in itertools.product(("avs", "avqa"), ("av", "av-nofusion")):
        yield "swin_fields", task, modality
    for family, task in itertools.product(("swinv2_fields", "vit_fields"), ("avs", "avqa")):
        yield family, task, "av"


@pytest.mark.parametrize(("family", "task", "modality"), list(variants()))
def test_variant_runs_and_declares_every_parameter_once(helpers, family, task, modality):
    model = helpers.teach(build(getattr(helpers, family)(task=task, modality=modality))).train()
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
    pool = {
        "clip_fields": lambda x: x[:, 0],
        "swin_fields": lambda x: x.flatten(1, 2).mean(1),
        "swinv2_fields": lambda x: x.flatten(1, 2).mean(1),
        "vit_fields": lambda x: x[:, 5:].mean(1),  # class token and four registers come first
    }[family]
    for modality in ("video", "av"):
        model = build(getattr(helpers, family)(modality=modality)).eval()
        inputs = helpers.draw_inputs(model.config)
        frames = inputs["video"].flatten(0, 1)
        expected = model.encoder.backbone.forward_features(frames)
        ours = model.encoder(inputs).pooled["video"].flatten(0, 1)
        assert torch.equal(ours, pool(expected))


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
    with pytest.raises(ValueError, match=r"audio: dtype float64, expected float32 \(or float16, bfloat16\)"):
        model(**{**inputs, "audio": inputs["audio"].double()})
    with pytest.raises(ValueError, match="audio: ndarray, expected a tensor"):
        model(**{**inputs, "audio": inputs["audio"].numpy()})
    with pytest.raises(ValueError, match="owner: list, expected a tensor"):
        model(**inputs, owner=[0, 1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_inputs_are_taken_under_autocast(helpers, dtype):
    model = build(helpers.clip_fields()).eval()
    inputs = {name: x.to(dtype) for name, x in helpers.draw_inputs(model.config).items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(**inputs)["logits"].isfinite().all()


@pytest.mark.parametrize("word", [-1, 11, 10**9])
def test_words_outside_the_vocabulary_are_named(helpers, word):
    model = build(helpers.swin_fields(task="avqa", vocabulary=11))
    inputs = helpers.draw_inputs(model.config)
    inputs["question"][1, 3] = word
    with pytest.raises(ValueError, match=f"question: {word}, expected 0 to 10: the vocabulary is 11"):
        model(**inputs)


def test_negative_frames_teach_the_head_but_not_the_encoder(helpers):
    model = helpers.teach(build(helpers.swin_fields(task="avqa", drop_path=0.0))).eval()
    model.encoder.backbone.requires_grad_(True)
    assert not model.encoder.encode_frozen(helpers.draw_inputs(model.config)["video"]).requires_grad
    model.encoder.freeze()
    outputs = model(**helpers.draw_inputs(model.config, negative=True))
    assert "match_negative" not in model(**helpers.draw_inputs(model.config))
    outputs["match_negative"].sum().backward()
    video = {n: p for n, p in model.parameter_groups()["adapter"].items() if ".temporal.video." in n}
    # s_t is the clip's own, so the audio side does learn; the frames' adapters hear of it only by exchange.
    last = "encoder.adapters.3.1.global_.video.fc2.weight"
    assert video
    assert model.get_parameter(last).grad.abs().max() == 0
    assert model.head.video.weight.grad.abs().max() > 0


@pytest.mark.parametrize(("family", "task"), [("clip_fields", "ave"), ("swin_fields", "avs")])
def test_a_training_step_leaves_what_is_frozen_alone(helpers, family, task):
    model = helpers.teach(build(getattr(helpers, family)(task=task))).train()
    frozen = {n: p.clone() for n, p in model.frozen_tensors().items()}
    buffers = {n: b.clone() for n, b in model.named_buffers()}
    (output,) = model(**helpers.draw_inputs(model.config)).values()
    output.sum().backward()
    # An optimizer that is given everything still has nothing to go by in what is frozen.
    torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1).step()
    for name, parameter in model.frozen_tensors().items():
        assert parameter.grad is None, name
        assert torch.equal(frozen[name], parameter), name
    changed = {n for n, b in model.named_buffers() if not torch.equal(b, buffers[n])}
    leaves = ("running_mean", "running_var", "num_batches_tracked")
    head = {n for n in buffers if n.startswith("head.") and n.endswith(leaves)}
    assert changed == head
    assert bool(head) == (task == "avs")


def gray(pixels):
    """`[B, T, H, W]` → frames `[B, T, 3, H, W]` of the same values in every channel."""
    return pixels[:, :, None].expand(-1, -1, 3, -1, -1)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_audio_stem_hears_a_gray_frame_as_the_frames_stem_sees_it(helpers, family):
    fields = getattr(helpers, family)()
    model = build({**fields, "audio_shape": (fields["image_size"],) * 2})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.encoder.backbone.parameters():  # biases and norms of their own, too
            parameter.normal_(generator=generator)
    model.encoder.derive_audio()
    pixels = helpers.draw_inputs(model.config)["audio"]
    # ViTs sum the kernel over the colours, Swin takes the mean.
    frames = gray(pixels / 3 if model.config.backbone.audio_stem == "mean" else pixels)
    heard, seen = model.encoder._stem("audio", pixels), model.encoder._stem("video", frames)
    torch.testing.assert_close(heard, seen, rtol=1e-4, atol=1e-4)


def places(side, n):
    """Positions of n audio rows (or columns) on an image grid of `side`: its middle, or spread over it."""
    if n <= side:
        return [side // 2 - n // 2 + i for i in range(n)]
    return [min(max((i + 0.5) * side / n - 0.5, 0), side - 1) for i in range(n)]


@pytest.mark.parametrize("grid", [(7, 7), (3, 4), (6, 9), (12, 5), (7, 10), (14, 21), (1, 1)])
def test_audio_positions_by_hand(grid):
    side = 7
    # Each position holds its own row and column, so that bilinear resizing gives fractions of them.
    image = torch.tensor(
        [[row, column] for row in range(side) for column in range(side)], dtype=torch.float32
    )
    class_row = torch.tensor([[-1.0, -2.0]])
    table = audio_positions(torch.cat([class_row, image])[None], (side, side), grid)
    expected = [[row, column] for row in places(side, grid[0]) for column in places(side, grid[1])]
    torch.testing.assert_close(table, torch.cat([class_row, torch.tensor(expected).float()])[None])


@pytest.mark.parametrize("family", ["clip_fields", "swin_fields", "vit_fields"])
def test_fused_attention_does_not_hang_on_timms_switch(helpers, family):
    before = {"enable": use_fused_attn(), "experimental": use_fused_attn(experimental=True)}
    set_fused_attn(False)
    try:
        backbone = build(getattr(helpers, family)()).encoder.backbone
    finally:
        set_fused_attn(**before)
    attentions = [m for m in backbone.modules() if hasattr(m, "fused_attn")]
    assert len(attentions) == (8 if family == "swin_fields" else 2)
    assert all(attention.fused_attn for attention in attentions)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"task": "avs", "mask_channels": 20}, "mask_channels: 20, expected a multiple of 8"),
        ({"task": "avs", "mask_channels": 0}, "mask_channels: 0, expected a positive integer"),
        ({"depths": (2, 2)}, "depths: (2, 2), expected 4 for swin"),
        ({"depths": (2, 2), "adapter_ratio": (0.5,) * 4}, "depths: (2, 2), expected 4 for swin"),
        ({"heads": (1,), "adapter_ratio": (0.5,) * 4}, "heads: (1,), expected 4 for swin"),
        (
            {"adapter_ratio": (0.5, 0.5)},
            "adapter_ratio: (0.5, 0.5), expected one number above 0, or 4 of them",
        ),
        ({"adapter_ratio": 0}, "adapter_ratio: 0, expected one number above 0"),
        ({"adapter_ratio": float("inf")}, "adapter_ratio: inf, expected one number above 0"),
        ({"adapter_ratio": float("nan")}, "adapter_ratio: nan, expected one number above 0"),
    ],
)
def test_wrong_fields_are_named(helpers, overrides, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ModelConfig.from_dict(helpers.swin_fields(**overrides))


def test_a_bottleneck_may_be_wider_than_the_tokens(helpers):
    model = helpers.teach(build(helpers.clip_fields(adapter_ratio=1.5))).eval()
    assert model.encoder.adapters[0].spatial["video"].fc1.weight.shape == (24, 16)
    assert model(**helpers.draw_inputs(model.config))["logits"].isfinite().all()


def test_mask_channels_narrow_the_avs_head(helpers):
    wide, narrow = (build(helpers.swin_fields(task="avs", mask_channels=n)).eval() for n in (64, 8))
    inputs = helpers.draw_inputs(narrow.config)
    assert narrow(**inputs)["mask_logits"].shape == wide(**inputs)["mask_logits"].shape
    assert narrow.head.to_eighth.weight.shape == (1, 4, 3, 3)
    narrow_head, wide_head = (sum(p.numel() for p in m.head.parameters()) for m in (narrow, wide))
    assert narrow_head < wide_head / 4


def test_the_avs_head_returns_features_in_training_only_and_only_when_asked(helpers):
    model = helpers.teach(build(helpers.swin_fields(task="avs", drop_path=0)))
    inputs = helpers.draw_inputs(model.config)
    plain = model.train()(**inputs)
    model.head.returns_features = True
    asked, scored = model(**inputs), model.eval()(**inputs)
    assert list(plain) == list(scored) == ["mask_logits"]
    assert torch.equal(asked["mask_logits"], plain["mask_logits"])
    clips, steps = inputs["video"].shape[:2]
    width = model.config.head.mask_channels
    encoded = model.encoder(inputs)
    for stage in range(4):
        side = encoded.stages[stage].shape[1]
        assert asked[f"visual_{stage}"].shape == (clips * steps, width, side, side)
        heard = model.head.tpavi[stage].align_audio(model.head.audio(encoded.pooled["audio"]))
        assert torch.allclose(asked[f"audio_{stage}"], heard.flatten(0, 1), atol=1e-6)
    assert len(asked) == 9


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
