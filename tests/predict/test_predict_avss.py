"""Class maps of AVSS as pictures."""

import numpy as np
from stgcma.figures import palette_colour
from stgcma.predict.avss_picture import class_layer, full_class_map


def shares(classes, count=4):
    return np.stack([(classes == index).astype(np.float32) for index in range(count)])


def test_a_map_in_the_size_of_the_shares_has_the_likeliest_classes():
    classes = np.random.default_rng(0).integers(0, 4, (224, 224))
    picture = full_class_map(shares(classes), 224, 224)
    assert picture.mode == "P"
    assert np.array_equal(np.asarray(picture), classes)
    coloured = np.asarray(picture.convert("RGB"))
    assert tuple(coloured[classes == 3][0]) == palette_colour(3)


def test_a_map_is_stretched_like_its_frame():
    classes = np.zeros((224, 224), np.int64)
    classes[:, 112:] = 2
    found = np.asarray(full_class_map(shares(classes), 640, 360))
    assert found.shape == (360, 640)
    assert not found[:, :319].any()
    assert (found[:, 321:] == 2).all()


def test_a_layer_hides_nothing_of_the_background_and_marks_edges():
    classes = np.zeros((224, 224), np.int64)
    classes[50:100, 50:100], classes[50:100, 100:150] = 1, 2
    layer = np.asarray(class_layer(full_class_map(shares(classes), 224, 224)).convert("RGBA"))
    assert not layer[classes == 0][:, 3].any()
    assert tuple(layer[75, 75][:3]) == palette_colour(1)
    assert tuple(layer[75, 125][:3]) == palette_colour(2)
    assert [tuple(layer[75, x][:3]) for x in (50, 99, 100, 149)] == [(255, 255, 255)] * 4
