import math

import numpy as np
import pytest
from stgcma.train.evaluation import majority_baseline
from stgcma.train.metrics import SecondsAccuracy


def test_equals_an_independent_count():
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 5, (2, 40, 10))
    metric = SecondsAccuracy(7)  # classes 5 and 6 never occur
    for start in range(0, 40, 7):  # unequal batches
        metric.update(predicted[start : start + 7], true[start : start + 7])
    pairs = list(zip(true.ravel().tolist(), predicted.ravel().tolist(), strict=True))
    assert metric.accuracy() == sum(a == b for a, b in pairs) / len(pairs)
    for index in range(5):
        mine = [b == index for a, b in pairs if a == index]
        assert metric.by_class()[index] == sum(mine) / len(mine)
    assert metric.by_class()[5:] == [None, None]
    assert metric.confusion[2, 3] == sum(pair == (2, 3) for pair in pairs)


def test_nothing_counted_is_not_a_score():
    assert math.isnan(SecondsAccuracy(3).accuracy())


def test_unequal_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 10\), true \(3, 10\)"):
        SecondsAccuracy(3).update(np.zeros((2, 10), int), np.zeros((3, 10), int))


def test_the_majority_is_the_most_frequent_true_class():
    metric = SecondsAccuracy(3)
    metric.update(np.array([0, 0, 0, 0]), np.array([2, 2, 2, 1]))
    baseline = majority_baseline(metric.confusion, ("a", "b", "background"))
    assert baseline == {"class": "background", "accuracy": 0.75}
