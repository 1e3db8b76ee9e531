"""Scores of semantic masks against plain loops, and the effects of absent classes and of padding."""

import dataclasses

import numpy as np
import pytest
import torch
from stgcma.train.metrics.semantic import ClassOverlap, SemanticCounts, predicted_classes

CLASSES = 6


def drawn(frames=9, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES - 1, (frames, 5, 4))  # the last class is never true
    predicted = np.where(rng.random(labels.shape) < 0.6, labels, rng.integers(0, CLASSES, labels.shape))
    predicted[labels == 2] = 3  # always missed
    return torch.from_numpy(predicted), torch.from_numpy(labels)


def slow_scores(predicted, labels):
    """IoU and F by class over the frames in which it occurs, NaN for none, by sets of pixels."""
    found = np.full((2, CLASSES), np.nan)
    for label in range(CLASSES):
        values = []
        for guess, true in zip(predicted.flatten(1).tolist(), labels.flatten(1).tolist(), strict=True):
            chosen = {at for at, value in enumerate(guess) if value == label}
            right = {at for at, value in enumerate(true) if value == label}
            if chosen | right:
                both = len(chosen & right)
                precision, recall = both / max(len(chosen), 1), both / max(len(right), 1)
                f = 1.3 * precision * recall / (0.3 * precision + recall) if both else 0
                values.append((both / len(chosen | right), f))
        if values:
            found[:, label] = np.mean(values, 0)
    return found


def test_scores_equal_plain_loops():
    predicted, labels = drawn()
    overlap = ClassOverlap(CLASSES + 1)  # one more class, which never occurs
    for start in range(0, 9, 4):
        overlap.add(predicted[start : start + 4], labels[start : start + 4])
    iou, f = slow_scores(predicted, labels)
    scores = overlap.scores()
    for name, by_class in (("miou", iou), ("f", f)):
        named = {key: getattr(scores, name + key) for key in ("", "_seen_classes", "_seen_foreground")}
        total = np.nansum(by_class)
        assert named[""] == pytest.approx(total / (CLASSES + 1))
        assert named["_seen_classes"] == pytest.approx(np.nanmean(by_class))
        assert named["_seen_foreground"] == pytest.approx(np.nanmean(by_class[1:]))
        assert getattr(scores, name + "_no_bg") == pytest.approx(total / CLASSES)  # the last is absent
        assert getattr(scores, name + "_without_class_0") == pytest.approx(np.nansum(by_class[1:]) / CLASSES)
    assert scores.classes_seen == CLASSES
    assert scores.iou_background == pytest.approx(iou[0])
    pooled = [
        ((predicted == label) & (labels == label)).sum() / ((predicted == label) | (labels == label)).sum()
        for label in range(CLASSES)
    ]
    assert scores.dataset_level_miou_seen_classes == pytest.approx(np.mean(pooled))


def test_a_perfect_model_is_below_1_where_classes_are_absent():
    _, labels = drawn()
    overlap = ClassOverlap(CLASSES)
    overlap.add(labels, labels)
    scores = overlap.scores()
    assert scores.miou == pytest.approx((CLASSES - 1) / CLASSES)
    assert scores.miou_no_bg == 1  # the absent class is the one that is left out
    assert scores.miou_without_class_0 == pytest.approx((CLASSES - 2) / (CLASSES - 1))
    assert (scores.miou_seen_classes, scores.classes_seen) == (1, CLASSES - 1)


def test_padding_lifts_the_official_background_only():
    predicted, labels = drawn()
    counts = SemanticCounts(CLASSES)
    counts.add(predicted, labels, padded_frames=6)
    padded = ClassOverlap(CLASSES)
    empty = torch.zeros(6, 5, 4, dtype=torch.int64)
    padded.add(torch.cat([predicted, empty]), torch.cat([labels, empty]))
    official, real = counts.official.scores(), counts.no_padding.scores()
    pooled = "dataset_level_miou_seen_classes"
    same = dataclasses.asdict(padded.scores()) | {pooled: getattr(official, pooled)}
    assert dataclasses.asdict(official) == pytest.approx(same)
    assert official.iou_background > real.iou_background
    assert official.miou_seen_foreground == real.miou_seen_foreground
    assert getattr(official, pooled) == getattr(real, pooled)


def test_parts_merge():
    predicted, labels = drawn()
    whole, first, second = (SemanticCounts(CLASSES) for _ in range(3))
    whole.add(predicted, labels, padded_frames=7)
    first.add(predicted[:4], labels[:4], padded_frames=5)
    second.add(predicted[4:], labels[4:], padded_frames=2)
    second.merge(first)
    for name in ("official", "no_padding"):
        found, expected = (dataclasses.asdict(getattr(one, name).scores()) for one in (second, whole))
        assert found == pytest.approx(expected)


def test_equal_logits_are_the_lower_class_after_a_softmax_in_float32():
    logits = torch.zeros(1, 4, 1, 3, dtype=torch.float64)
    logits[0, 2, 0, 1] = 1e-9  # lost in float32
    logits[0, 2, 0, 2] = 1e-3
    assert predicted_classes(logits).tolist() == [[[0, 0, 2]]]


def test_only_background_has_no_foreground_score():
    overlap = ClassOverlap(CLASSES)
    overlap.add(torch.zeros(1, 2, 2, dtype=torch.int64), torch.zeros(1, 2, 2, dtype=torch.int64))
    scores = overlap.scores()
    assert (scores.miou_seen_classes, scores.miou_seen_foreground, scores.f_seen_foreground) == (
        1,
        None,
        None,
    )


def test_what_cannot_be_scored_is_refused():
    overlap, frame = ClassOverlap(CLASSES), torch.zeros(1, 2, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match="no frames to score"):
        overlap.scores()
    with pytest.raises(ValueError, match=r"predicted \(1, 2, 2\), labels \(2, 2\)"):
        overlap.add(frame, frame[0])
    with pytest.raises(ValueError, match="label classes are 6 to 6, must be 0 to 5"):
        overlap.add(frame, frame + CLASSES)
    with pytest.raises(ValueError, match="predicted classes are -1 to -1"):
        overlap.add(frame - 1, frame)
