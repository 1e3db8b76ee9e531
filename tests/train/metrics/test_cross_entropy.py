"""Cross-entropies by frame: bounded logs, and means over pixels."""

import math

import pytest
import torch
from stgcma.train.metrics.cross_entropy import bounded_bce, frame_bce, frame_cross_entropy


def test_a_saturated_wrong_pixel_costs_100_and_has_no_gradient():
    logits = torch.tensor([[[120.0, -120.0, 0.0]]], requires_grad=True)
    masks = torch.tensor([[[False, True, True]]])
    loss = frame_bce(logits, masks)
    assert loss.item() == pytest.approx((100 + 100 + math.log(2)) / 3)
    loss.sum().backward()
    assert logits.grad.tolist() == [[[0, 0, pytest.approx(-0.5 / 3)]]]
    # The form from logits is neither bounded nor without gradient.
    unbounded = torch.nn.functional.binary_cross_entropy_with_logits(logits.detach(), masks.float())
    assert unbounded.item() == pytest.approx((120 + 120 + math.log(2)) / 3)


def test_binary_frames_equal_a_plain_formula():
    torch.manual_seed(0)
    logits, masks = torch.randn(3, 4, 5), torch.rand(3, 4, 5) < 0.4
    share = logits.double().sigmoid()
    expected = -torch.where(masks, share, 1 - share).log().mean((1, 2))
    torch.testing.assert_close(frame_bce(logits, masks).double(), expected)


def test_semantic_frames_equal_a_plain_formula():
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 7, 4, 5), torch.randint(0, 7, (3, 4, 5))
    share = logits.double().softmax(1).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(frame_cross_entropy(logits, labels).double(), -share.log().mean((1, 2)))


def test_autocast_and_half_precision_compute_in_float32():
    logits = torch.randn(2, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert frame_bce(logits.bfloat16(), logits > 0).dtype == torch.float32
        assert frame_cross_entropy(torch.randn(2, 4, 3, 3).half(), (logits > 0).long()).dtype == torch.float32
        assert bounded_bce(torch.tensor([1e-7]).half() * 0, torch.ones(1)).tolist() == [100]
    assert frame_bce(logits.double(), logits > 0).dtype == torch.float64
