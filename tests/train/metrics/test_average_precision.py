"""Average precision against its definition, counted item by item."""

import math

import numpy as np
import pytest
from stgcma.train.metrics.average_precision import average_precision


def by_definition(scores, relevant):
    """Sum precision times the gain in recall over the distinct scores, with loops and plain numbers."""
    total = sum(relevant)
    if not total:
        return math.nan
    area, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = [hit for score, hit in zip(scores, relevant, strict=True) if score >= threshold]
        area += (sum(chosen) / total - recall) * sum(chosen) / len(chosen)
        recall = sum(chosen) / total
    return area


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("levels", [3, 1000])
def test_it_is_the_definition(seed, levels):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, 50).astype(np.float32)
    relevant = rng.random(50) < 0.1 * (1 + seed)
    expected = by_definition(scores.tolist(), relevant.tolist())
    assert average_precision(scores, relevant) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "relevant", "expected"),
    [
        ([0.9, 0.8, 0.1], [1, 1, 0], 1.0),
        ([0.9, 0.8, 0.1], [0, 0, 1], 1 / 3),
        ([0.9, 0.8, 0.1], [1, 0, 1], (1 + 2 / 3) / 2),
        ([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0], 0.25),  # equal scores: the share of relevant items
        ([-np.inf, 1.0], [1, 0], 0.5),
    ],
)
def test_rankings_by_hand(scores, relevant, expected):
    found = average_precision(np.array(scores, dtype=np.float32), np.array(relevant, dtype=bool))
    assert found == pytest.approx(expected)


def test_nothing_relevant_is_no_number():
    assert math.isnan(average_precision(np.zeros(3, dtype=np.float32), np.zeros(3, dtype=bool)))
    assert math.isnan(average_precision(np.zeros(0, dtype=np.float32), np.zeros(0, dtype=bool)))


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="scores have NaN"):
        average_precision(np.array([np.nan, 1], dtype=np.float32), np.array([True, False]))
