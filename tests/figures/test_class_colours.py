"""Classes keep their colours, and background has none."""

import colorsys

from stgcma.figures import class_colour, class_hue
from stgcma.figures.drawing import BACKGROUND, RULE


def test_hues_are_spread_evenly_and_background_has_none():
    assert [class_hue(index, 5) for index in range(5)] == [0, 90, 180, 270, None]
    assert class_hue(0, 1) is None


def test_colours_have_the_hue_of_their_class():
    for strong, lightness in ((False, 0.8), (True, 0.5)):
        for index in range(28):
            channels = [value / 255 for value in class_colour(index, 29, strong=strong)]
            hue, found, _ = colorsys.rgb_to_hls(*channels)
            assert abs(found - lightness) < 0.01
            assert min(abs(hue - index / 28), 1 - abs(hue - index / 28)) < 0.02
    assert class_colour(28, 29) == BACKGROUND
    assert class_colour(28, 29, strong=True) == RULE


def test_all_classes_of_the_largest_collection_differ():
    assert len({class_colour(index, 71) for index in range(71)}) == 71
