"""The audio-visual terms against plain loops: direction, reduction, and where gradients go."""

import math
from dataclasses import replace

import pytest
import torch
from stgcma.train.metrics.audio_visual_term import (
    AVSS_TERM,
    MS3_TERM,
    S4_COSINE_TERM,
    AudioVisualTerm,
    class_maps,
    kl_divergence,
    mean_of_selected,
)

FRAMES, CHANNELS, SIZES = 3, 5, ((4, 4), (2, 2))
BOTH = (0, 1)


def drawn(classes=1, dtype=torch.float64):
    torch.manual_seed(0)
    logits = 3 * torch.randn(FRAMES, classes, 8, 8, dtype=dtype)
    audio = [2 * torch.randn(FRAMES, CHANNELS, dtype=dtype) for _ in SIZES]
    visual = [2 * torch.randn(FRAMES, CHANNELS, *size, dtype=dtype) for size in SIZES]
    for leaf in (logits, *audio, *visual):
        leaf.requires_grad_()
    return logits, audio, visual


def slow_kl(logits, audio, visual):
    """MS3's KL(audio ‖ visual) of one frame and stage, pixel by pixel."""
    rows, columns = visual.shape[1:]
    step = logits.shape[-1] // columns
    seen = [0.0] * len(audio)
    for row in range(rows):
        for column in range(columns):
            block = logits[row * step : (row + 1) * step, column * step : (column + 1) * step]
            weight = 1 / (1 + math.exp(-block.mean().item()))
            for channel in range(len(audio)):
                seen[channel] += weight * visual[channel, row, column].item() / (rows * columns)
    p, q = (
        [math.exp(v) / sum(math.exp(w) for w in values) for v in values] for values in (audio.tolist(), seen)
    )
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def test_ms3_is_a_sum_over_frames_and_a_mean_over_stages():
    logits, audio, visual = drawn()
    with torch.no_grad():
        slow = [[slow_kl(logits[n, 0], audio[k][n], visual[k][n]) for k in BOTH] for n in range(FRAMES)]
    term = replace(MS3_TERM, stages=BOTH)
    assert term(logits, audio, visual).item() == pytest.approx(sum(sum(frame) / 2 for frame in slow))
    by_frame = term.by_frame(logits, audio, visual)
    assert by_frame.tolist() == pytest.approx([sum(frame) / 2 for frame in slow])
    counted = torch.tensor([True, False, True])
    mean = replace(term, reduction="mean")(logits, audio, visual, counted=counted)
    assert mean.item() == pytest.approx((sum(slow[0]) + sum(slow[2])) / 4)


@pytest.mark.parametrize(
    ("term", "reaches_logits"), [(MS3_TERM, True), (AVSS_TERM, False), (S4_COSINE_TERM, False)]
)
def test_gradients_are_stopped_at_hard_maps_only(term, reaches_logits):
    logits, audio, visual = drawn(classes=4 if term is AVSS_TERM else 1)
    replace(term, stages=BOTH)(logits, audio, visual).backward()
    assert (logits.grad is not None) is reaches_logits
    assert all(leaf.grad.abs().sum() > 0 for leaf in (*audio, *visual))


@pytest.mark.parametrize(
    "term",
    [
        MS3_TERM,
        replace(MS3_TERM, normalised=True),
        replace(MS3_TERM, distance="euclidean", normalised=True),
        replace(MS3_TERM, pooling="maximum"),
    ],
)
def test_gradients_equal_finite_differences(term):
    logits, audio, visual = drawn()
    term = replace(term, stages=(1,))
    inputs = (logits, audio[1], visual[1])
    assert torch.autograd.gradcheck(lambda x, a, v: term(x, [a, a], [v, v]), inputs, fast_mode=True)


def test_the_maps_of_avss_are_shares_of_foreground():
    logits = torch.zeros(1, 3, 2, 4)
    logits[0, 2, :, 0] = 1.0  # a quarter of the picture is class 2
    assert class_maps(logits, (1, 2)).tolist() == [[[[0.5, 0.0]]]]
    assert class_maps(logits, (1, 1), background=2).item() == 0.75


def test_nothing_selected_is_a_zero_vector():
    visual = torch.ones(1, 2, 2, 2)
    assert mean_of_selected(visual, torch.full((1, 1, 2, 2), 0.5)).tolist() == [[0, 0]]
    selected = mean_of_selected(visual, torch.full((1, 1, 2, 2), 0.51))
    assert selected.tolist() == [pytest.approx([1, 1], abs=1e-6)]


def test_large_features_have_a_finite_value_and_gradient():
    audio = torch.tensor([[0.0, 0.0]], requires_grad=True)
    visual = torch.tensor([[0.0, 400.0]], requires_grad=True)
    value = kl_divergence(audio, visual).sum()
    value.backward()
    assert value.item() == pytest.approx(200 - math.log(2))
    assert visual.grad.tolist() == [[-0.5, 0.5]]


def test_half_precision_is_computed_in_float32():
    logits, audio, visual = drawn(dtype=torch.float32)
    term = replace(MS3_TERM, stages=BOTH)
    expected = term(
        logits.half().float(), [a.half().float() for a in audio], [v.half().float() for v in visual]
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = term(logits.half(), [a.half() for a in audio], [v.half() for v in visual])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distance": "manhattan"}, "distance is 'manhattan', must be one of kl, euclidean, cosine"),
        ({"stages": ()}, "stages is empty"),
        ({"maps": "classes", "pooling": "maximum"}, "pooling 'maximum' needs maps 'pooled-logits'"),
    ],
)
def test_unknown_variants_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AudioVisualTerm(**{"maps": "pooled-logits", "reduction": "sum"} | options)
