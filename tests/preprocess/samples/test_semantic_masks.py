"""Colours and classes of AVSS."""

import numpy as np
import pytest
from stgcma.preprocess.collections.avss_colours import (
    PALETTE,
    classes_of_colours,
    colours_of_classes,
)


def test_every_class_has_a_colour_and_comes_back():
    classes = np.arange(71).reshape(1, 71)
    assert len({tuple(colour) for colour in PALETTE.tolist()}) == 71
    np.testing.assert_array_equal(classes_of_colours(colours_of_classes(classes)), classes)


@pytest.mark.parametrize("colour", [(1, 2, 3), (127, 0, 0), (255, 255, 255), (32, 0, 128), (0, 0, 1)])
def test_a_colour_outside_the_palette_is_class_0(colour):
    # Bright, dark, and near colours; (32, 0, 128) would be a class of bits 6 and 2: 68.
    expected = 68 if colour == (32, 0, 128) else 0
    assert classes_of_colours(np.array([[colour]], dtype=np.uint8)).tolist() == [[expected]]


def test_a_class_without_colour_is_refused():
    with pytest.raises(ValueError, match="classes are 3 to 71, must be 0 to 70"):
        colours_of_classes(np.array([3, 71]))
