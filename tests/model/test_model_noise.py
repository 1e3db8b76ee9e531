"""Rows that dropout and drop paths drop, and their rates; parts of a batch drop the same as the whole."""

from __future__ import annotations

import math

import pytest
import torch
from stgcma.model import ModelConfig, build_from_config
from stgcma.model.adapters import base
from stgcma.model.noise import BatchSlice, Dropout, DropPath, set_batch_slices

FAMILIES = ["clip_fields", "swin_fields"]


def build(helpers, family, **overrides):
    fields = getattr(helpers, family)(drop_path=0.5, **overrides)
    return helpers.teach(build_from_config(ModelConfig.from_dict(fields))).train()


def blocks(model):
    """Every block of the backbone, in order."""
    backbone = model.encoder.backbone
    return (
        list(backbone.blocks)
        if hasattr(backbone, "blocks")
        else [b for s in backbone.layers for b in s.blocks]
    )


def watch(layer):
    """Record inputs and outputs of a layer, call by call."""
    calls = []
    layer.register_forward_hook(lambda _, inputs, output: calls.append((inputs[0].detach(), output.detach())))
    return calls


def check_dropped_rows(calls, rate):
    """Whole rows are dropped, the others made up for it."""
    kept = 0
    for before, after in calls:
        for x, y in zip(before, after, strict=True):
            dropped = not y.any()
            kept += not dropped
            assert dropped or torch.allclose(y, x / (1 - rate))
    assert 0 < kept < sum(len(before) for before, _ in calls)


def without_head_dropout(model):
    for module in model.head.modules():
        if isinstance(module, Dropout):
            module.drop_prob = 0.0
    return model


def test_clip_drops_rows_of_a_clip_and_a_position(helpers):
    model = build(helpers, "clip_fields", depths=(3,))
    block = blocks(model)[1]
    first, second = watch(block.drop_path1), watch(block.drop_path2)
    model(**helpers.draw_inputs(model.config, 4))
    patches = {"video": 2 * 2, "audio": 2 * 4}
    assert [tuple(x.shape) for x, _ in first] == [(4 * (1 + n), 3, 16) for n in patches.values()]
    check_dropped_rows(first, 0.25)
    assert second == []


def test_swin_drops_rows_of_a_clip_and_a_position(helpers):
    model = build(helpers, "swin_fields")
    block = model.encoder.backbone.layers[1].blocks[0]
    first, second = watch(block.drop_path1), watch(block.drop_path2)
    odd = watch(model.encoder.backbone.layers[1].blocks[1].drop_path1)
    model(**helpers.draw_inputs(model.config, 3))
    assert [tuple(x.shape) for x, _ in first] == [(3 * 8 * 8, 2, 16)] * 2
    check_dropped_rows(first, 0.5 * 2 / 7)
    assert second == odd == []


def test_the_rates_are_one_ramp_over_all_blocks(helpers):
    for family, depths in (("clip_fields", (5,)), ("swin_fields", (2, 1, 4, 2))):
        model = build(helpers, family, depths=depths)
        count = sum(depths)
        for index, block in enumerate(blocks(model)):
            for layer in (block.drop_path1, block.drop_path2):
                rate = getattr(layer, "drop_prob", 0.0)  # timm builds none where the rate is 0
                assert rate == pytest.approx(0.5 * index / (count - 1))
                assert isinstance(layer, DropPath) == (index > 0)


@pytest.mark.parametrize("modality", ["video", "audio"])
def test_unimodal_swin_drops_half_of_the_global_adapter(helpers, modality):
    model = build(helpers, "swin_fields", modality=modality)
    block, trained = model.encoder.backbone.layers[3].blocks[1], model.encoder.adapters[3][1]
    normed, mlp, dropped = watch(block.norm2), watch(block.mlp), watch(block.drop_path2)
    whole = watch(model.encoder.backbone.norm)
    model(**helpers.draw_inputs(model.config, 6))
    ((x, n),), ((before, after),) = normed, dropped
    assert len(before) == 6 * 2  # rows are frames, or segments
    torch.testing.assert_close(before, 0.5 * trained.global_[modality](n).detach())
    check_dropped_rows(dropped, 0.5)
    # The frozen MLP reads the same values, beside the adapter, and is never dropped.
    ((mlp_input, z),) = mlp
    assert torch.equal(mlp_input, n)
    ((output, _),) = whole
    torch.testing.assert_close(output, x + (z + after))


@pytest.mark.parametrize("family", ["swin_fields", "swinv2_fields"])
@pytest.mark.parametrize("values", [2**19, 16 * 16 * 8 // 2])
def test_negative_frames_lose_both_residuals_while_training(helpers, monkeypatch, family, values):
    """As in timm's own forward pass, whose DropPath drops whole frames; a few frames at a time or all."""
    monkeypatch.setitem(base._SLICE_VALUES, "cpu", values)
    model = build(helpers, family, task="avqa")
    calls = [watch(block.drop_path2) for block in blocks(model)[1:]]
    video = helpers.draw_inputs(model.config, 8)["video"]
    torch.manual_seed(4)
    first = model.encoder.encode_frozen(video)
    torch.manual_seed(4)
    with torch.no_grad():
        expected = model.encoder.backbone.forward_features(video.flatten(0, 1))
    assert [len(x) for ((x, _),) in calls] == [8 * 2] * len(calls)
    check_dropped_rows(calls[-1], 0.5)
    torch.testing.assert_close(first.flatten(0, 1), expected.flatten(1, 2), rtol=1e-4, atol=1e-5)
    assert not torch.equal(first, model.encoder.encode_frozen(video))
    model.eval()
    assert torch.equal(model.encoder.encode_frozen(video), model.encoder.encode_frozen(video))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("modality", ["av", "av-nofusion", "video", "audio"])
def test_outputs_vary_while_training_alone(helpers, family, modality):
    model = without_head_dropout(build(helpers, family, modality=modality))
    inputs = helpers.draw_inputs(model.config)
    assert not torch.equal(model(**inputs)["logits"], model(**inputs)["logits"])
    model.eval()
    assert torch.equal(model(**inputs)["logits"], model(**inputs)["logits"])


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_but_the_temporal_step_is_dropped_with_both_modalities(helpers, family):
    model = without_head_dropout(build(helpers, family, temporal=False))
    inputs = helpers.draw_inputs(model.config)
    assert torch.equal(model(**inputs)["logits"], model(**inputs)["logits"])


def test_the_heads_drop_single_values(helpers):
    ave = build(helpers, "clip_fields")
    dropout = ave.head.layers[1]
    assert (dropout.drop_prob, dropout.of) == (0.5, "clips")
    calls = watch(dropout)
    ave(**helpers.draw_inputs(ave.config, 4))
    ((before, after),) = calls
    assert (after == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert torch.allclose(after[after != 0], 2 * before[after != 0])
    avqa = build(helpers, "swin_fields", task="avqa")
    drops = [m for m in avqa.head.modules() if isinstance(m, Dropout)]
    assert [(m.drop_prob, m.of) for m in drops] == [(0.1, "questions")] * 4


CASES = {
    "clip": ("clip_fields", {}),
    "clip-audio": ("clip_fields", {"modality": "audio"}),
    "swin": ("swin_fields", {}),
    "swin-video": ("swin_fields", {"modality": "video"}),
    "swinv2": ("swinv2_fields", {}),
    "avqa": ("swin_fields", {"task": "avqa"}),
}


@pytest.mark.parametrize(
    ("case", "sizes"),
    [
        pytest.param(case, sizes, marks=[pytest.mark.slow] * (case != "clip" and sizes != (2, 1)))
        for case in CASES
        for sizes in ((1, 1, 1), (2, 1), (1, 2))
    ],
)
def test_the_parts_of_a_batch_are_the_batch(helpers, case, sizes):
    family, overrides = CASES[case]
    model = build(helpers, family, **overrides)
    inputs = helpers.draw_inputs(model.config, 3, negative=True)
    torch.manual_seed(5)
    whole = model(**inputs)
    parts, first = [], 0
    for size in sizes:
        set_batch_slices(model, clips=BatchSlice(first, size, 3))
        torch.manual_seed(5)
        parts.append(model(**{name: x[first : first + size] for name, x in inputs.items()}))
        first += size
    for name, output in whole.items():
        together = torch.cat([part[name] for part in parts])
        torch.testing.assert_close(together, output, rtol=1e-4, atol=1e-4)

    # Without a part again, the noise is the whole batch's; a part that drew its own would differ.
    set_batch_slices(model)
    torch.manual_seed(5)
    name = next(iter(whole))
    assert torch.equal(model(**inputs)[name], whole[name])
    torch.manual_seed(5)
    alone = model(**{key: x[2:] for key, x in inputs.items()})[name]
    assert not torch.allclose(alone, whole[name][-len(alone) :], rtol=1e-2, atol=1e-2)


def test_the_parts_of_a_batch_of_questions_are_the_batch(helpers):
    model = build(helpers, "swin_fields", task="avqa")
    owner = torch.tensor([0, 0, 1, 2, 2, 2])
    inputs = helpers.draw_inputs(model.config, 3, negative=True)
    generator = torch.Generator().manual_seed(6)
    question = torch.randint(0, model.config.head.vocabulary, (6, 14), generator=generator)
    torch.manual_seed(5)
    whole = model(**{**inputs, "question": question}, owner=owner)
    parts = []
    for clips, questions in ((slice(0, 1), slice(0, 2)), (slice(1, 3), slice(2, 6))):
        set_batch_slices(
            model,
            clips=BatchSlice(clips.start, clips.stop - clips.start, 3),
            questions=BatchSlice(questions.start, questions.stop - questions.start, 6),
        )
        torch.manual_seed(5)
        part = {name: x[clips] for name, x in inputs.items()} | {"question": question[questions]}
        parts.append(model(**part, owner=owner[questions] - clips.start))
    for name, output in whole.items():
        together = torch.cat([part[name] for part in parts])
        torch.testing.assert_close(together, output, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("part", [(-1, 1, 3), (0, 0, 3), (2, 2, 3)])
def test_a_part_lies_within_its_batch(part):
    with pytest.raises(ValueError, match=r"slice is BatchSlice\(first=.*, must lie within its total"):
        BatchSlice(*part)


def test_the_expectation_is_kept():
    torch.manual_seed(0)
    for layer in (Dropout(0.3), DropPath(0.3)):
        x = torch.ones(20_000, 1)
        assert layer.train()(x).mean().item() == pytest.approx(1, abs=5 * math.sqrt(0.3 / 0.7 / 20_000))
        assert layer.eval()(x) is x
