"""Colours and classes of AVSS, and the geometry of its pictures."""

import numpy as np
import pytest
from PIL import Image
from stgcma.preprocess.samples.semantic_masks import (
    PALETTE,
    Geometry,
    classes_of_colours,
    colours_of_classes,
    evaluation_geometry,
    mask_classes,
    training_geometry,
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


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((224, 224), Geometry(224, 224, 0, 0)),
        ((853, 480), Geometry(398, 224, 87, 0)),  # 398.07 is truncated
        ((100, 60), Geometry(373, 224, 74, 0)),  # 373.33; 74.5 is rounded to even
        ((300, 448), Geometry(224, 334, 0, 55)),  # 334.5 is truncated
        ((229, 224), Geometry(229, 224, 2, 0)),  # 2.5 is rounded to even
        ((227, 224), Geometry(227, 224, 2, 0)),  # 1.5 is rounded to even
    ],
)
def test_training_pictures_are_cut_as_by_the_release(size, expected):
    assert training_geometry(*size) == expected
    assert evaluation_geometry(*size) == Geometry(224, 224, 0, 0)


def test_masks_are_resized_to_the_nearest_colour():
    classes = np.zeros((448, 448), dtype=np.uint8)
    classes[:, 224:] = 47
    for geometry in (training_geometry(448, 448), evaluation_geometry(448, 448)):
        found = mask_classes(Image.fromarray(colours_of_classes(classes)), geometry)
        np.testing.assert_array_equal(found, classes[::2, ::2])


def test_a_palette_picture_is_read_by_its_colours():
    picture = Image.new("P", (224, 224), 3)
    picture.putpalette([0, 0, 0] * 3 + PALETTE[9].tolist())
    assert np.unique(mask_classes(picture, evaluation_geometry(224, 224))).tolist() == [9]


def test_a_picture_without_pixels_is_refused():
    with pytest.raises(ValueError, match="0x5 has no pixels"):
        training_geometry(0, 5)
