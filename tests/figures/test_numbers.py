"""Numbers as text: each quantity has one spelling and one rounding rule."""

import doctest
import math

import pytest
from stgcma import figures
from stgcma.figures import clock, duration, mebibytes, number, percent


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (0, 0, "0 %"),
        (0.001, 0, "<1 %"),
        (0.006, 0, "1 %"),
        (0.5, 0, "50 %"),
        (0.994, 0, "99 %"),
        (0.999, 0, ">99 %"),
        (1, 0, "100 %"),
        (0, 1, "0.0 %"),
        (0.0004, 1, "<0.1 %"),
        (0.8136, 1, "81.4 %"),
        (0.9996, 1, ">99.9 %"),
        (1, 1, "100.0 %"),
        (0.00004, 2, "<0.01 %"),
        (0.99999, 2, ">99.99 %"),
        (-0.02, 1, "-2.0 %"),
        (1.5, 0, "150 %"),
        (None, 1, "–"),
        (math.nan, 0, "–"),
    ],
)
def test_a_share_that_is_neither_none_nor_all_never_reads_so(share, digits, text):
    assert percent(share, digits) == text


def test_times_are_cut_and_durations_rounded_to_seconds():
    assert [clock(seconds) for seconds in (0, 65.9, 3605)] == ["0:00", "1:05", "1:00:05"]
    assert [duration(seconds) for seconds in (0, 65.9, 3605)] == ["0:00:00", "0:01:06", "1:00:05"]
    assert duration(90_000) == "1 day, 1:00:00"


def test_counts_and_sizes_have_commas():
    assert number(45867) == "45,867"
    assert mebibytes(5 << 30) == "5,120 MiB"


def test_the_examples_run():
    for module in (figures, figures.numbers):
        assert doctest.testmod(module).attempted > 0
        assert doctest.testmod(module).failed == 0
