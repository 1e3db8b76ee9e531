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


def test_numbers_cover_neither_each_other_nor_points():
    crowd = [Point(str(i), 1.0 + i % 2 / 40, 0.5 + i // 2 % 2 / 200) for i in range(3)]
    crowd.append(Point("varied", 1.1, 0.5, 0.1))
    svg = scatter_plot("Score", [*crowd, Point("far", 8.0, 0.9), Point("as far", 8.0, 0.9)], cost="size").svg
    points = list(zip(numbers(svg, "cx"), numbers(svg, "cy"), strict=True))
    labels = re.findall(r'</g><text text-anchor="middle" x="([\d.]+)" y="([\d.]+)">(\d)<', svg)
    assert [number for _, _, number in labels] == ["1", "2", "3", "4", "5", "6"]
    bottom, top = map(float, re.findall(r'points="[\d.]+,([\d.]+) [\d.]+,([\d.]+)"', svg)[0])
    middles = [(float(x), float(y) - 4) for x, y, _ in labels]
    for number, (x, y) in enumerate(middles):
        others = [*points, *middles[:number]]
        assert all(max(abs(x - u), abs(y - v)) > 11 for u, v in others), number
        assert abs(x - points[3][0]) > 11 or not top <= y <= bottom, number
        assert 46 <= x <= 406
        assert max(abs(x - points[number][0]), abs(y - points[number][1])) < 30


def test_a_deviation_is_a_line_through_the_point():
    plot = scatter_plot("Score", POINTS, cost="size")
    ((x, low, other_x, high),) = re.findall(r'points="([\d.]+),([\d.]+) ([\d.]+),([\d.]+)"', plot.svg)
    assert float(x) == float(other_x) == numbers(plot.svg, "cx")[0]
    assert (float(low) + float(high)) / 2 == pytest.approx(numbers(plot.svg, "cy")[0], abs=0.1)


def test_one_model_without_cost_has_a_plot():
    plot = scatter_plot("Score", [Point("frozen", 0.0, 1.0, 0.2)], cost="size")
    assert len(numbers(plot.svg, "cx")) == 1
    assert all(0 <= y <= 240 for y in numbers(plot.svg, "y1"))
