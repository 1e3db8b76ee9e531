"""AVC in pages: the rows of a clip, names, and the name of the score."""

import json

import numpy as np
import pytest
import torch
from stgcma.errors import StgcmaError
from stgcma.pages.tasks import VIEWS
from stgcma.pages.tasks.base import PredictedClip
from stgcma.train.tasks import task_of

from ..labelled_shards import npy

CLASSES = ("bell", "dog, barking", "rain")


class Info:
    """The fields of dataset.json that the view reads."""

    task, classes = "avc", CLASSES

    def __init__(self, labels_per_clip):
        self.features = {"labels_per_clip": labels_per_clip, "sampling": {"frames": 2}}


def rows(labels_per_clip, logits, tags):
    members = {"frame_00.jpg": b"", "frame_01.jpg": b"", "json": json.dumps({}).encode()}
    outputs = {"logits": torch.tensor([logits])}
    targets = {"tags": torch.tensor([tags])}
    found = VIEWS["avc"].predicted_rows(
        PredictedClip("key", members, Info(labels_per_clip), outputs, targets)
    )
    return {row.heading: row.segments[0] for row in found.below}


def test_one_label_is_right_or_wrong():
    right = rows("one", [0.0, 4.0, 0.0], [0.0, 1.0, 0.0])
    assert (right["true"].name, right["predicted"].name) == ("dog, barking", "dog, barking")
    assert (right["predicted"].wrong, right["predicted"].seconds) == (False, 2)
    assert right["likeliest"].name == "dog, barking 96 %, bell 2 %, rain 2 %"
    assert rows("one", [0.0, 4.0, 0.0], [0.0, 0.0, 1.0])["predicted"].wrong


def test_several_labels_are_right_when_all_are():
    right = rows("several", [3.0, -3.0, 1.0], [1.0, 0.0, 1.0])
    assert right["true"].name == right["predicted"].name == "bell, rain"
    assert not right["predicted"].wrong
    part = rows("several", [3.0, -3.0, -1.0], [1.0, 0.0, 1.0])
    assert (part["predicted"].name, part["predicted"].wrong) == ("bell", True)
    none = rows("several", [-3.0, -3.0, -3.0], [0.0, 0.0, 0.0])
    assert none["true"].name == none["predicted"].name == "no label"
    assert not none["predicted"].wrong
    assert none["true"].hue is None


def test_a_clip_is_found_by_its_names():
    info = Info("several")
    assert VIEWS["avc"].names_of(info, {"tags.npy": npy(np.array([1, 0, 1], np.uint8))}) == ("bell", "rain")
    with pytest.raises(StgcmaError, match=r"tags.npy is uint8 \[2\], expected uint8 \[3\]"):
        VIEWS["avc"].names_of(info, {"tags.npy": npy(np.ones(2, np.uint8))})


@pytest.mark.parametrize(("labels_per_clip", "label"), [("one", "accuracy"), ("several", "mAP")])
def test_the_score_has_the_name_of_the_collections_score(labels_per_clip, label):
    assert VIEWS["avc"].label_of(task_of(Info(labels_per_clip)).score_name) == label
