"""Scores of LLP against plain loops, and the effects of rows and clips that hold nothing."""

import numpy as np
import pytest
import torch
from stgcma.train.metrics.event_parsing import (
    STREAMS,
    Confusion,
    ParsingCounts,
    decide,
    events,
    mark_rows,
)

CLASSES, SECONDS = 4, 10


def drawn(clips=30, seed=0):
    """Truth and predictions that are often alike; some clips without either."""
    rng = np.random.default_rng(seed)
    shape = (clips, SECONDS, 2, CLASSES)
    truth = np.repeat(rng.random((clips, SECONDS // 2, 2, CLASSES)) < 0.3, 2, axis=1)
    predicted = truth ^ (rng.random(shape) < 0.08)
    truth[:3], predicted[:2] = False, False
    truth[4:8, :, 1] = False
    return predicted, truth


def slow_runs(seconds):
    runs, start = [], None
    for at, on in enumerate([*seconds, False]):
        if on and start is None:
            start = at
        elif not on and start is not None:
            runs.append(set(range(start, at)))
            start = None
    return runs


def slow_counts(predicted, truth, level):
    """TP, FP, FN of one clip, class and stream."""
    if level == "segment":
        pairs = list(zip(predicted, truth, strict=True))
        return tuple(sum(bool(a) is x and bool(b) is y for a, b in pairs)
                     for x, y in ((True, True), (True, False), (False, True)))  # fmt: skip
    guesses, trues = slow_runs(predicted), slow_runs(truth)
    right = sum(any(len(a & b) >= 0.5 * len(a | b) for b in trues) for a in guesses)
    missed = sum(not any(len(a & b) >= 0.5 * len(a | b) for a in guesses) for b in trues)
    return right, len(guesses) - right, missed


def slow_clip_f(counts):
    """F of a clip from TP, FP, FN by class."""
    scores = [2 * tp / (2 * tp + fp + fn) for tp, fp, fn in counts if tp + fp + fn]
    return sum(scores) / len(scores) if scores else 1.0


def slow_scores(predicted, truth, level):
    """The means over the clips: A, V, AV, Event."""
    totals = []
    for guess, true in zip(predicted, truth, strict=True):
        pairs = [(guess[:, 0], true[:, 0]), (guess[:, 1], true[:, 1]), (guess.all(1), true.all(1))]
        a, v, av = (
            [slow_counts(one[:, label], other[:, label], level) for label in range(CLASSES)]
            for one, other in pairs
        )
        both = [tuple(x + y for x, y in zip(*pair, strict=True)) for pair in zip(a, v, strict=True)]
        totals.append([slow_clip_f(counts) for counts in (a, v, av, both)])
    return np.mean(totals, 0)


def test_scores_equal_plain_loops():
    predicted, truth = drawn()
    counts = ParsingCounts(CLASSES)
    for start in range(0, 30, 7):
        counts.add(predicted[start : start + 7], truth[start : start + 7])
    scores = counts.scores()
    for level in ("segment", "event"):
        found, slow = getattr(scores, level), slow_scores(predicted, truth, level)
        assert [found.a, found.v, found.av, found.event_av] == pytest.approx(list(slow))
        assert found.type_av == pytest.approx(slow[:3].mean())
    assert scores.clips == 30


def test_counts_over_the_split_stand_beside():
    predicted, truth = drawn()
    counts = ParsingCounts(CLASSES)
    counts.add(predicted, truth)
    scores = counts.scores()
    streams = {
        "A": (predicted[:, :, 0], truth[:, :, 0]),
        "V": (predicted[:, :, 1], truth[:, :, 1]),
        "AV": (predicted.all(2), truth.all(2)),
        "any": (predicted.any(2), truth.any(2)),
    }
    for name, (guess, true) in streams.items():
        chosen, right = guess.any(1), true.any(1)
        found = np.stack(scores.video_counts[name].arrays)
        wanted = [(chosen & right).sum(0), (chosen & ~right).sum(0), (~chosen & right).sum(0)]
        np.testing.assert_array_equal(found, wanted)
        if name == "any":
            continue
        for level in ("segment", "event"):
            slow = np.sum(
                [
                    [slow_counts(one[:, label], other[:, label], level) for label in range(CLASSES)]
                    for one, other in zip(guess, true, strict=True)
                ],
                axis=0,
            )
            confusion = getattr(scores, f"{level}_counts")[name]
            np.testing.assert_array_equal(np.stack(confusion.arrays, 1), slow)
            tp, fp, fn = slow.sum(0)
            assert confusion.pooled_f() == pytest.approx(2 * tp / (2 * tp + fp + fn))
        empty = ~true.any((1, 2))
        assert scores.empty_truth_share[name] == pytest.approx(empty.mean())
        assert scores.empty_share[name] == pytest.approx((empty & ~guess.any((1, 2))).mean())


def test_predicting_nothing_scores_the_share_of_clips_without_truth():
    _, truth = drawn()
    counts = ParsingCounts(CLASSES)
    counts.add(np.zeros_like(truth), truth)
    scores = counts.scores()
    for level in (scores.segment, scores.event):
        assert [level.a, level.v, level.av] == pytest.approx([scores.empty_share[name] for name in STREAMS])
        # A clip counts as empty here only when both modalities are.
        assert level.event_av == pytest.approx((~truth.any((1, 2, 3))).mean())
    assert scores.empty_share == scores.empty_truth_share
    assert scores.segment_counts["A"].pooled_f() == 0


def test_parts_merge():
    predicted, truth = drawn()
    whole, first, second = (ParsingCounts(CLASSES) for _ in range(3))
    whole.add(predicted, truth)
    first.add(predicted[:11], truth[:11])
    second.add(predicted[11:], truth[11:])
    first.merge(second)
    assert first.f_sums == pytest.approx(whole.f_sums)
    assert (first.clips, first.empty, first.empty_truth) == (whole.clips, whole.empty, whole.empty_truth)
    for key, confusion in whole.confusions.items():
        np.testing.assert_array_equal(first.confusions[key].arrays, confusion.arrays)
    with pytest.raises(ValueError, match="counts of 4 and of 5 classes do not merge"):
        first.merge(ParsingCounts(5))


def test_rows_that_touch_or_overlap_are_one_event():
    rows = [(1, 0, 4), (1, 4, 6), (2, 1, 5), (2, 3, 8), (2, 3, 8), (3, 8, 10), (0, 9, 12)]
    marked = mark_rows(rows, classes=CLASSES)
    assert events(marked) == [(0, 9, 10), (1, 0, 6), (2, 1, 8), (3, 8, 10)]


def test_rows_that_end_before_they_begin_mark_nothing():
    assert not mark_rows([(1, 3, 3), (2, 9, 0), (1, 0, -1)], classes=CLASSES).any()


@pytest.mark.parametrize("row", [(4, 0, 1), (-1, 0, 1), (0, -1, 3)])
def test_rows_out_of_range_are_named(row):
    with pytest.raises(ValueError, match=rf"row \({row[0]}, {row[1]}, {row[2]}\): class must be 0 to 3"):
        mark_rows([row], classes=CLASSES)


def test_half_is_enough_for_an_event_and_for_a_decision():
    counts = ParsingCounts(1)
    truth, predicted = np.zeros((2, 1, SECONDS, 2, 1), dtype=bool)
    truth[0, 0:6, 0], predicted[0, 3:6, 0] = True, True
    counts.add(predicted, truth)
    assert counts.scores().event.a == 1
    probabilities = torch.tensor([0.5, 0.49]).repeat(1, 2, 2, 1)
    assert decide(probabilities, torch.tensor([[0.5, 1.4]])).tolist() == [[[[True, False]] * 2] * 2]
    assert not decide(probabilities, torch.tensor([[0.49, 1.4]])).any()  # the clip gates both modalities


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match="no clips to score"):
        ParsingCounts().scores()
    with pytest.raises(ValueError, match=r"truth \(1, 10, 2, 4\); expected \[N, T, 2, 25\]"):
        ParsingCounts().add(np.zeros((1, 10, 2, 4), bool), np.zeros((1, 10, 2, 4), bool))
    with pytest.raises(ValueError, match=r"shapes \[\(2,\), \(2,\), \(3,\)\]"):
        Confusion(*(np.zeros(n, np.int64) for n in (2, 2, 3)))
    assert Confusion(*np.zeros((3, 2), np.int64)).pooled_f() is None
