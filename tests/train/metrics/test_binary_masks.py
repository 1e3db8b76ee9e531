"""Scores of binary masks against plain loops, and the properties that the batch-wise ones have."""

import numpy as np
import pytest
import torch
from stgcma.train.metrics.binary_masks import MaskCounts

CLIPS, FRAMES, SIDE = 7, 5, 4


def drawn(seed=0):
    rng = np.random.default_rng(seed)
    masks = rng.random((CLIPS, FRAMES, SIDE, SIDE)) < rng.random((CLIPS, FRAMES, 1, 1))
    masks[2] = False  # a clip of empty masks
    masks[5, 1] = False
    logits = rng.normal(size=masks.shape).astype(np.float32) * 3 + masks
    return torch.from_numpy(logits), torch.from_numpy(masks)


def counted(logits, masks, clips=None):
    counts = MaskCounts(len(masks))
    for clip in range(len(masks)) if clips is None else clips:
        counts.add(clip, logits[clip], masks[clip])
    return counts


def slow_call(logits, masks):
    """mIoU and F of a call over all pixels one by one."""
    ious, curves = [], []
    thresholds = torch.linspace(0, 1 - 1e-10, 255)
    for logit, mask in zip(logits, masks, strict=True):
        share, truth = torch.sigmoid(logit).flatten(), mask.flatten().tolist()
        chosen = (share > 0.5).tolist()
        if any(truth):
            both = sum(a and b for a, b in zip(chosen, truth, strict=True))
            ious.append(both / sum(a or b for a, b in zip(chosen, truth, strict=True)))
            curve = []
            for threshold in thresholds:
                passed = (share >= threshold).tolist()
                right = sum(a and b for a, b in zip(passed, truth, strict=True))
                precision, recall = right / (sum(passed) + 1e-20), right / sum(truth)
                curve.append(1.3 * precision * recall / (0.3 * precision + recall) if right else 0.0)
            curves.append(curve)
        else:
            ious.append(chosen.count(False) / len(chosen))
    return np.mean(ious), np.mean(curves, 0).max() if curves else 0.0


@pytest.mark.parametrize("size", [1, 3])
def test_the_official_scores_equal_plain_loops(size):
    logits, masks = drawn()
    scores = counted(logits, masks).batchwise(size)
    slow = [
        slow_call(logits[at : at + size].flatten(0, 1), masks[at : at + size].flatten(0, 1))
        for at in range(0, CLIPS, size)
    ]
    assert [(call.miou, call.f) for call in scores.calls] == [pytest.approx(call, abs=1e-9) for call in slow]
    # A plain mean over the calls: the last one has a single clip and counts as much as the others.
    assert (scores.miou, scores.f) == pytest.approx(tuple(np.mean(slow, 0)), abs=1e-9)
    assert [call.clips for call in scores.calls] == [size] * (CLIPS // size) + [1] * (CLIPS % size)


def test_the_official_f_depends_on_the_batch_size_and_the_split_level_f_does_not():
    logits, masks = drawn()
    counts = counted(logits, masks)
    found = {size: counts.batchwise(size) for size in (1, 2, 7)}
    assert len({round(scores.f, 3) for scores in found.values()}) == 3
    assert {size: scores.empty_calls for size, scores in found.items()} == {1: 1, 2: 0, 7: 0}
    assert counts.split().split_level_f == pytest.approx(found[7].f)


def test_scores_of_frames_with_an_object_stand_apart():
    logits, masks = drawn()
    split = counted(logits, masks).split()
    shown = masks.flatten(2).any(2)
    frames = [(logit[None], mask[None]) for logit, mask in zip(logits[shown], masks[shown], strict=True)]
    assert split.miou_non_empty == pytest.approx(np.mean([slow_call(*frame)[0] for frame in frames]))
    assert split.empty_share == pytest.approx(1 - shown.float().mean().item())
    assert split.frames == CLIPS * FRAMES
    assert 0 <= split.threshold <= 1


def test_parts_merge_in_any_order():
    logits, masks = drawn()
    whole, first, second = (counted(logits, masks, part) for part in (None, [4, 0, 6], [5, 3, 2, 1]))
    second.merge(first)
    assert second.batchwise(3) == whole.batchwise(3)
    assert second.split() == whole.split()
    with pytest.raises(ValueError, match="clip 0 was added before"):
        second.merge(first)
    with pytest.raises(ValueError, match="counts of 7 and of 3 clips do not merge"):
        second.merge(MaskCounts(3))


def test_clips_that_were_not_scored_are_left_out_before_calls_are_made():
    logits, masks = drawn()
    kept = [0, 1, 3, 6]
    found = counted(logits, masks, kept).batchwise(2)
    assert found == counted(logits[kept], masks[kept]).batchwise(2)


def test_only_empty_frames_have_a_released_f_of_0_and_no_f_of_the_split():
    counts = MaskCounts(1)
    counts.add(0, torch.full((2, 3, 3), -4.0), torch.zeros(2, 3, 3))
    assert (counts.batchwise(1).miou, counts.batchwise(1).f, counts.batchwise(1).empty_calls) == (1, 0, 1)
    split = counts.split()
    assert (split.frame_mean_iou, split.empty_share) == (1, 1)
    assert (split.miou_non_empty, split.split_level_f, split.threshold) == (None, None, None)


def test_what_cannot_be_scored_is_refused():
    counts = MaskCounts(2)
    with pytest.raises(ValueError, match=r"logits \(2, 3, 3\), masks \(1, 3, 3\)"):
        counts.add(0, torch.zeros(2, 3, 3), torch.zeros(1, 3, 3))
    for score in (counts.split, lambda: counts.batchwise(4)):
        with pytest.raises(ValueError, match="no frames to score"):
            score()
    counts.add(1, torch.zeros(2, 3, 3), torch.zeros(2, 3, 3))
    with pytest.raises(ValueError, match="clip 1 was added before"):
        counts.add(1, torch.zeros(2, 3, 3), torch.zeros(2, 3, 3))
    with pytest.raises(ValueError, match="clips_per_call is 0, must be at least 1"):
        counts.batchwise(0)
