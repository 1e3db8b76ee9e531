"""MMIL pooling and its losses against plain loops, and probabilities above 1."""

import math

import pytest
import torch
from stgcma.train.metrics.mmil import Pooled, mmil_losses, pool

CLIPS, SECONDS, CLASSES = 2, 3, 4


def drawn():
    torch.manual_seed(0)
    probabilities = torch.rand(CLIPS, SECONDS, 2, CLASSES, dtype=torch.float64)
    time, modality = 3 * torch.randn(2, CLIPS, SECONDS, 2, CLASSES, dtype=torch.float64)
    tags = (torch.rand(CLIPS, CLASSES) < 0.5).double()
    return probabilities, time, modality, tags


def slow_pool(p, time, modality, b, c, *, normalised=False):
    """Audio, visual and clip probability of one clip and class."""
    by_modality, total, weights = [0.0, 0.0], 0.0, 0.0
    for m in range(2):
        over_time = sum(math.exp(time[b, t, m, c]) for t in range(SECONDS))
        for t in range(SECONDS):
            over_modality = sum(math.exp(modality[b, t, other, c]) for other in range(2))
            u = math.exp(time[b, t, m, c]) / over_time
            w = math.exp(modality[b, t, m, c]) / over_modality
            by_modality[m] += u * float(p[b, t, m, c])
            total += u * w * float(p[b, t, m, c])
            weights += u * w
    return (*by_modality, total / weights if normalised else total)


@pytest.mark.parametrize("normalised", [False, True])
def test_pooling_equals_plain_loops(normalised):
    p, time, modality, _ = drawn()
    pooled = pool(p, time, modality, normalised=normalised)
    for b in range(CLIPS):
        for c in range(CLASSES):
            found = [float(values[b, c]) for values in (pooled.audio, pooled.visual, pooled.clip)]
            assert found == pytest.approx(list(slow_pool(p, time, modality, b, c, normalised=normalised)))


def test_a_probability_above_1_is_counted_and_its_normalised_form_is_not():
    p = torch.ones(1, SECONDS, 2, CLASSES)
    time, modality = torch.zeros(2, 1, SECONDS, 2, CLASSES)
    # Audio is decided in second 0, video in second 1, and each second trusts that modality.
    time[0, 0, 0], time[0, 1, 1] = 20, 20
    modality[0, 0, 0], modality[0, 1, 1] = 20, 20
    modality[..., 0] = 0  # not for class 0
    pooled = pool(p, time, modality)
    assert pooled.clip[0, 1:].tolist() == pytest.approx([2] * (CLASSES - 1), abs=1e-5)
    assert pooled.share_above_1() == (CLASSES - 1) / CLASSES
    assert pool(p, time, modality, normalised=True).clip[0].tolist() == pytest.approx([1] * CLASSES)


@pytest.mark.parametrize("smoothing", [0.1, 0.0])
def test_losses_equal_plain_formulas(smoothing):
    p, time, modality, tags = drawn()
    pooled = pool(p, time, modality, normalised=True)
    losses = mmil_losses(pooled, tags, visual_smoothing=smoothing)
    targets = {"audio": tags, "visual": (1 - smoothing) * tags + smoothing / 2, "clip": tags}
    for name, target in targets.items():
        value = getattr(pooled, name)
        expected = -(target * value.log() + (1 - target) * (1 - value).log()).mean(1)
        torch.testing.assert_close(getattr(losses, name), expected)
    torch.testing.assert_close(losses.total, losses.audio + losses.visual + losses.clip)


def test_the_clamp_is_that_of_float32_and_stops_the_gradient():
    value = torch.tensor([[1.3, 0.0, 0.5]], requires_grad=True)
    half = torch.full((1, 3), 0.5)
    losses = mmil_losses(Pooled(half, half, value), torch.tensor([[0.0, 1.0, 1.0]]))
    assert losses.clip.item() == pytest.approx((15.942385 + 16.118095 + math.log(2)) / 3, rel=1e-6)
    losses.total.sum().backward()
    assert value.grad.tolist() == [[0, 0, pytest.approx(-2 / 3)]]


def test_half_precision_is_computed_in_float32():
    half = torch.full((1, 2), 0.5, dtype=torch.float16)
    clip = torch.tensor([[1.0, 0.0]], dtype=torch.float16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = mmil_losses(Pooled(half, half, clip), torch.tensor([[0.0, 1.0]], dtype=torch.float16))
    assert losses.total.dtype == torch.float32
    assert losses.clip.item() == pytest.approx((15.942385 + 16.118095) / 2, rel=1e-6)
