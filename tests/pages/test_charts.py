"""Line charts: positions of lines and ticks, and the text in place of the drawing."""

import math
import re

import pytest
from stgcma.pages.charts import Series, line_chart


def numbers(svg, name):
    return [float(value) for value in re.findall(rf'{name}="([\d.]+)"', svg)]


def test_higher_values_are_higher_up_and_later_epochs_further_right():
    chart = line_chart("Loss", [Series("run", [(1, 2.0), (2, 1.0), (3, 1.5)])])
    first, second, third = numbers(chart.svg, "cy")
    assert first < third < second
    assert numbers(chart.svg, "cx") == sorted(numbers(chart.svg, "cx"))
    assert chart.rows == (("1", "2.000"), ("2", "1.000"), ("3", "1.500"))
    assert 'aria-label="Loss: run from 2.000 to 1.500"' in chart.svg


def test_a_single_epoch_is_a_dot_in_the_middle():
    chart = line_chart("Score", [Series("val", [(1, 0.5)])], percent=True)
    (x,) = numbers(chart.svg, "cx")
    line = numbers(chart.svg, "x1")[0], numbers(chart.svg, "x2")[0]
    assert x == pytest.approx(sum(line) / 2)
    assert chart.rows == (("1", "50.0 %"),)


def test_shares_stay_between_nothing_and_all():
    chart = line_chart("Score", [Series("val", [(1, 0.0), (2, 1.0)])], percent=True)
    shown = re.findall(r">(-?\d+) %<", chart.svg)
    assert (shown[0], shown[-1]) == ("0", "100")


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_shares_that_are_all_nothing_or_all(share):
    chart = line_chart("Score", [Series("val", [(1, share), (2, share)])], percent=True)
    shown = re.findall(r">(-?\d+) %<", chart.svg)
    assert len(shown) > 1
    assert f"{100 * share:.0f}" in shown


def test_a_value_that_is_not_finite_is_a_gap():
    chart = line_chart("Loss", [Series("run", [(1, 1.0), (2, math.nan), (3, 0.5)])])
    assert len(numbers(chart.svg, "cx")) == 2
    assert chart.rows[1] == ("2", "–")


def test_runs_of_different_length_share_the_axis():
    chart = line_chart("Loss", [Series("short", [(1, 1.0)]), Series("long", [(1, 1.0), (5, 0.2)])])
    assert chart.names == ("short", "long")
    assert chart.rows == (("1", "1.000", "1.000"), ("5", "–", "0.200"))


def test_names_cannot_break_out_of_the_picture():
    chart = line_chart("Loss", [Series('"><script>', [(1, 1.0)])])
    assert "<script>" not in chart.svg


def test_ticks_of_shares_that_differ_little_differ():
    chart = line_chart("Score", [Series("val", [(1, 0.901), (2, 0.909)])], percent=True)
    shown = re.findall(r">([\d.]+) %<", chart.svg)
    assert len(shown) == len(set(shown)) > 3
    assert {"90.2", "90.8"} <= set(shown)
