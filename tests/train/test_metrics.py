"""Scores against implementations of their own, written with loops and plain numbers."""

import math

import numpy as np
import pytest
import torch
from stgcma.shards.schema import QUESTION_TYPES
from stgcma.train.metrics.binary_masks import f_by_threshold
from stgcma.train.metrics.largest_object import largest_object
from stgcma.train.tasks.ave import AveResult, SecondsMeter
from stgcma.train.tasks.avqa import AnswerMeter
from stgcma.train.tasks.avs import MaskMeter
from stgcma.train.tasks.meter import ScoreRow

CLASSES = tuple("abcdefg")


class AveWithSum(AveResult):
    def rows(self):
        return [*super().rows(), ScoreRow("mean over classes", 0.25, 4, "sum")]


def test_only_classes_are_listed_by_class():
    result = AveWithSum(("bell", "dog"), ((1, 1), (0, 2)))
    assert result.rows()[-1].name == "mean over classes"
    assert result.by_class() == {"bell": 0.5, "dog": 1.0}
    assert result.metrics() == {"accuracy": 0.75, "accuracy/bell": 0.5, "accuracy/dog": 1.0}
    assert AveWithSum.from_json(result.to_json()) == result


def one_hot(labels):
    return torch.nn.functional.one_hot(torch.as_tensor(labels), len(CLASSES)).float()


def test_seconds_equal_an_independent_count():
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 5, (2, 40, 10))
    meter = SecondsMeter(CLASSES)  # classes f and g never occur
    for start in range(0, 40, 7):  # unequal batches
        labels = torch.from_numpy(true[start : start + 7])
        meter.update({"logits": one_hot(predicted[start : start + 7])}, {"labels": labels})
    pairs = list(zip(true.ravel().tolist(), predicted.ravel().tolist(), strict=True))
    assert meter.score() == sum(a == b for a, b in pairs) / len(pairs)
    for index in range(5):
        mine = [b == index for a, b in pairs if a == index]
        assert list(meter.result().by_class().values())[index] == sum(mine) / len(mine)
    assert list(meter.result().by_class().values())[5:] == [None, None]
    summary = meter.result().to_json()
    assert summary["confusion"][2][3] == sum(pair == (2, 3) for pair in pairs)
    counts = [sum(a == index for a, _ in pairs) for index in range(7)]
    most = counts.index(max(counts))
    assert summary["majority"] == {"class": CLASSES[most], "accuracy": max(counts) / len(pairs)}


def test_equal_logits_are_an_answer_for_the_lower_class():
    meter = SecondsMeter(CLASSES)
    meter.update({"logits": torch.zeros(1, 2, 7)}, {"labels": torch.tensor([[0, 1]])})
    assert meter.score() == 0.5


@pytest.mark.parametrize("meter", [SecondsMeter(CLASSES), MaskMeter(), AnswerMeter()])
def test_nothing_counted_is_not_a_score(meter):
    assert math.isnan(meter.score())
    assert next(iter(meter.result().metrics().values())) is None


def test_unequal_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 10\), labels \(3, 10\)"):
        SecondsMeter(CLASSES).update(
            {"logits": torch.zeros(2, 10, 7)}, {"labels": torch.zeros(3, 10, dtype=torch.int64)}
        )
    with pytest.raises(ValueError, match=r"predicted masks are \(1, 1, 4, 4\), the true ones \(1, 2, 4, 4\)"):
        MaskMeter().update(
            {"mask_logits": torch.zeros(1, 1, 1, 4, 4)},
            {"masks": torch.zeros(1, 2, 4, 4) > 0, "annotated": torch.ones(1, 2) > 0},
        )
    with pytest.raises(ValueError, match=r"\(2,\) answers to \(3,\) questions"):
        AnswerMeter().add(torch.zeros(2), torch.zeros(3), torch.zeros(3))


def naive_iou(predicted, mask):
    """AVSBench's: intersection over union; of an empty mask, the share of pixels that are kept empty."""
    both = either = kept = 0
    for p, m in zip(predicted.ravel().tolist(), mask.ravel().tolist(), strict=True):
        both += p and m
        either += p or m
        kept += not p and not m
    return both / either if mask.any() else kept / mask.size


def naive_f(shares, masks):
    """AVSBench's: at each threshold the mean F over the frames that show an object, then the maximum."""
    means = []
    for threshold in torch.linspace(0, 1 - 1e-10, 255).tolist():
        scores = []
        for share, mask in zip(shares, masks, strict=True):
            if not mask.any():
                continue
            chosen = share >= np.float32(threshold)
            right = float((chosen & mask).sum())
            precision = right / (chosen.sum() + 1e-20)
            recall = right / (mask.sum() + 1e-20)
            below = 0.3 * precision + recall
            scores.append(1.3 * precision * recall / below if below > 0 else 0.0)
        means.append(sum(scores) / len(scores))
    return max(means)


def masks_and_logits(frames=12, side=16):
    rng = np.random.default_rng(1)
    masks = np.zeros((frames, side, side), dtype=bool)
    for frame in range(frames):
        if frame % 4:  # every fourth frame shows no object
            y, x = rng.integers(0, side - 6, 2)
            masks[frame, y : y + 5, x : x + 6] = True
    logits = rng.normal(0, 2, masks.shape).astype(np.float32) + 2 * masks
    logits[0] = -1.0  # an empty frame, all of it kept empty
    logits[1] = 0.0  # ties at one half: not predicted
    logits[2] = 40.0  # everything, saturated to exactly 1
    logits[3] = -200.0  # nothing, saturated to exactly 0
    return masks, logits


def test_masks_equal_an_independent_implementation():
    masks, logits = masks_and_logits()
    meter = MaskMeter()
    for start in range(0, 12, 5):  # unequal batches, of clips of one frame
        stop = min(start + 5, 12)
        meter.update(
            {"mask_logits": torch.from_numpy(logits[start:stop, None, None])},
            {
                "masks": torch.from_numpy(masks[start:stop, None]),
                "annotated": torch.ones(stop - start, 1, dtype=torch.bool),
            },
        )
    shares = torch.from_numpy(logits).sigmoid().numpy()
    iou = [naive_iou(share > 0.5, mask) for share, mask in zip(shares, masks, strict=True)]
    assert meter.score() == pytest.approx(sum(iou) / len(iou), abs=1e-12)
    summary = meter.result().to_json()
    assert summary["f_score"] == pytest.approx(naive_f(shares, masks), abs=1e-9)
    assert (summary["frames"], summary["frames_without_object"]) == (12, 3)


def test_scores_of_test_batches_do_not_depend_on_the_batches_of_the_evaluation():
    """AVSBench's F of batches of n clips is the mean of their maxima, in the order of the split."""
    masks, logits = (array.reshape(6, 2, *array.shape[1:]) for array in masks_and_logits())
    masks[4] = False  # a clip without an object

    def result(clips):
        meter = MaskMeter()
        for start in range(0, 6, clips):
            part = slice(start, start + clips)
            meter.update(
                {"mask_logits": torch.from_numpy(logits[part, :, None])},
                {"masks": torch.from_numpy(masks[part]), "annotated": torch.ones(len(masks[part]), 2) > 0},
            )
        return meter.result()

    shares = torch.from_numpy(logits).sigmoid().numpy()
    assert result(1) == result(4) == result(5)
    by_size = {one.clips_per_batch: one for one in result(3).batchwise}
    for size, batches in ((1, [[0], [1], [2], [3], [4], [5]]), (4, [[0, 1, 2, 3], [4, 5]])):
        maxima = [
            naive_f(np.concatenate(shares[part]), np.concatenate(masks[part])) if masks[part].any() else 0.0
            for part in batches
        ]
        assert by_size[size].f_score == pytest.approx(np.mean(maxima), abs=1e-9)
        ious = [
            np.mean([naive_iou(shares[c, t] > 0.5, masks[c, t]) for c in part for t in range(2)])
            for part in batches
        ]
        assert by_size[size].miou == pytest.approx(np.mean(ious), abs=1e-9)
        assert (by_size[size].batches, by_size[size].batches_without_object) == (len(batches), int(size == 1))
    assert by_size[1].f_score != pytest.approx(by_size[4].f_score, abs=0.01)
    with_object = [
        naive_iou(share > 0.5, mask)
        for share, mask in zip(np.concatenate(shares), np.concatenate(masks), strict=True)
        if mask.any()
    ]
    assert result(2).miou_with_object == pytest.approx(np.mean(with_object), abs=1e-9)


def flood(mask, start):
    """The pixels that are connected with `start`, by a flood of the eight neighbours."""
    found, waiting = {start}, [start]
    while waiting:
        y, x = waiting.pop()
        for near in ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
            inside = 0 <= near[0] < mask.shape[0] and 0 <= near[1] < mask.shape[1]
            if inside and mask[near] and near not in found:
                found.add(near)
                waiting.append(near)
    return found


def test_the_largest_object_is_that_of_a_flood():
    rng = np.random.default_rng(0)
    for share in (0.0, 0.2, 0.35, 0.5, 1.0):
        mask = rng.random((12, 15)) < share
        parts = {frozenset(flood(mask, (int(y), int(x)))) for y, x in zip(*np.nonzero(mask), strict=True)}
        found = largest_object(mask)
        assert found.sum() == max(map(len, parts), default=0)
        if parts:
            assert frozenset(zip(*(place.tolist() for place in np.nonzero(found)), strict=True)) in parts


def test_frames_without_a_mask_do_not_count():
    masks, logits = (array[:2] for array in masks_and_logits())
    annotated = torch.tensor([[True, False]])
    meter = MaskMeter()
    meter.update(
        {"mask_logits": torch.from_numpy(logits[None, :, None])},
        {"masks": torch.from_numpy(masks[None]), "annotated": annotated},
    )
    assert meter.result().to_json()["frames"] == 1


def test_only_empty_frames_have_no_f_score():
    meter = MaskMeter()
    meter.update(
        {"mask_logits": torch.zeros(1, 2, 1, 4, 4)},
        {"masks": torch.zeros(1, 2, 4, 4) > 0, "annotated": torch.ones(1, 2) > 0},
    )
    assert (meter.score(), meter.result().to_json()["f_score"]) == (1.0, None)


def test_thresholds_count_equal_shares_as_chosen():
    shares = torch.tensor([[[0.0, 1.0], [0.5, 0.25]]])
    mask = torch.tensor([[[False, True], [False, False]]])
    scores = f_by_threshold(shares, mask)[0]
    assert scores[0] == pytest.approx(1.3 * 0.25 / (0.3 * 0.25 + 1))  # all four chosen at 0
    assert scores[-1] == 1.0  # the last threshold is 1 in float32, and 1 ≥ 1


def test_answers_equal_an_independent_count():
    rng = np.random.default_rng(2)
    kind, answer = rng.integers(0, 8, 200), rng.integers(-1, 6, 200)  # type 8 absent, −1 never in training
    predicted = rng.integers(0, 6, 200)
    meter = AnswerMeter()
    for start in range(0, 200, 30):
        part = slice(start, start + 30)
        meter.update(
            {"answer_logits": one_hot(predicted[part])},
            {"answer": torch.from_numpy(answer[part]), "type": torch.from_numpy(kind[part])},
        )
    summary = meter.result().to_json()
    right = predicted == answer
    assert meter.score() == summary["accuracy"] == right.mean()
    for index, (modality, name) in enumerate(QUESTION_TYPES):
        row = summary["by_type"][f"{modality} {name}"]
        mine = right[kind == index]
        assert row == {"accuracy": mine.mean() if len(mine) else None, "questions": len(mine)}
    seen = [index for index, (modality, _) in enumerate(QUESTION_TYPES) if modality == "Visual"]
    assert summary["by_modality"]["Visual"] == right[np.isin(kind, seen)].mean()
    assert len(summary["by_type"]) == 9
