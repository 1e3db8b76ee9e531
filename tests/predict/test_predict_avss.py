"""Class maps of AVSS as pictures."""

from types import SimpleNamespace

import numpy as np
import pytest
from stgcma.figures import palette_colour
from stgcma.predict.annotations import annotation_folder, write_annotation
from stgcma.predict.avss import AvssPredictor
from stgcma.predict.avss_picture import class_layer, full_class_map
from stgcma.preprocess.collections import masks
from stgcma.preprocess.samples.class_masks import class_mask_members
from stgcma.shards.members import read_class_map


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


@pytest.mark.parametrize("count", [3, 90, 255])
def test_exported_masks_are_a_collection_of_the_same_classes_and_pixels(tmp_path, count):
    names = ("background", *(f"class {number}" for number in range(1, count)))
    run = SimpleNamespace(task=SimpleNamespace(info=SimpleNamespace(classes=names)))
    maps = np.random.default_rng(count).integers(0, count, (7, 56, 56))
    folder = annotation_folder(tmp_path, "tram")
    for second, classes in enumerate(maps):
        write_annotation(folder, second, classes)
    for name, content in AvssPredictor.annotations(run, [None], ["tram.mp4"]).items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "tram.mp4").touch()
    collection = masks.read(tmp_path)
    assert (collection.task, collection.classes) == ("avss", names)
    first, last = collection.clips
    assert (first.fields["annotated"], last.fields["annotated"]) == ([0, 1, 2, 3, 4], [0, 1])
    for clip in collection.clips:
        paths = [tmp_path / mask if mask else None for mask in clip.masks]
        members, warnings = class_mask_members(
            paths, (5, 56, 56, 3), kind=clip.mask_kind, classes=clip.mask_classes
        )
        assert not warnings
        for name, content in members.items():
            expected = maps[clip.fields["start"] + int(name[5:7])]
            found = read_class_map(content, name, count)
            assert np.array_equal(found[::4, ::4], expected)
            assert np.array_equal(found, np.kron(expected, np.ones((4, 4), int)))


def test_no_classes_are_written_without_results():
    assert AvssPredictor.annotations(None, [], []) == {}
