import math

import pytest
from stgcma.train.optim import learning_rate


def rates(**options):
    return [learning_rate(step, **options) for step in range(options["total_steps"])]


def test_values_computed_by_hand():
    # Warm-up of 5 steps from 0 to 8, both ends included; then 4 steps down to 2: 2 + 3·(1 + cos(π·i/4)).
    expected = [0, 2, 4, 6, 8, 5 + 3 * math.sqrt(0.5), 5, 5 - 3 * math.sqrt(0.5), 2]
    assert rates(peak=8, minimum=2, warmup_steps=5, total_steps=9) == pytest.approx(expected)


def test_without_a_warmup_the_first_step_is_nearly_the_peak():
    assert rates(peak=1, minimum=0, warmup_steps=0, total_steps=2) == pytest.approx([0.5, 0.0])


def test_a_warmup_of_one_step_is_the_peak():
    assert rates(peak=1, minimum=0, warmup_steps=1, total_steps=2) == pytest.approx([1.0, 0.0])


def test_a_warmup_that_fills_the_run_never_decays():
    assert rates(peak=1, minimum=0.5, warmup_steps=3, total_steps=3) == pytest.approx([0, 0.5, 1])
