"""Scatter plots: places of points, and the text in place of the drawing."""

import re

import pytest
from stgcma.pages.scatter import Point, scatter_plot

POINTS = [Point("small", 1.0, 0.5, 0.1), Point("large", 8.0, 0.9), Point("<b>", 0.0, 0.2)]


def numbers(svg, name):
    return [float(value) for value in re.findall(rf'{name}="([\d.]+)"', svg)]


def test_costly_models_are_further_right_and_better_ones_higher_up():
    plot = scatter_plot("Score over size", POINTS, cost="size")
    small, large, free = zip(numbers(plot.svg, "cx"), numbers(plot.svg, "cy"), strict=True)
    assert free[0] < small[0] < large[0]
    assert large[1] < small[1] < free[1]
    assert plot.names == ("small", "large", "<b>")
    assert (
        'aria-label="Score over size: small 50.0 % at 1.00; large 90.0 % at 8.00; &lt;b&gt; 20.0 % at'
        in plot.svg
    )
    assert re.findall(r">(\d)</text></g>|</g><text [^>]*>(\d)<", plot.svg) == [
        ("", "1"),
        ("", "2"),
        ("", "3"),
    ]


def test_a_deviation_is_a_line_through_the_point():
    plot = scatter_plot("Score", POINTS, cost="size")
    ((x, low, other_x, high),) = re.findall(r'points="([\d.]+),([\d.]+) ([\d.]+),([\d.]+)"', plot.svg)
    assert float(x) == float(other_x) == numbers(plot.svg, "cx")[0]
    assert (float(low) + float(high)) / 2 == pytest.approx(numbers(plot.svg, "cy")[0], abs=0.1)


def test_one_model_without_cost_has_a_plot():
    plot = scatter_plot("Score", [Point("frozen", 0.0, 1.0, 0.2)], cost="size")
    assert len(numbers(plot.svg, "cx")) == 1
    assert all(0 <= y <= 240 for y in numbers(plot.svg, "y1"))
