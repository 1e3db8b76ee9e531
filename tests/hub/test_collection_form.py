"""Cards tell the published collections from clips that only have their layout."""

from __future__ import annotations

import dataclasses

import pytest
from stgcma.hub.collection_form import other_than_published
from stgcma.preprocess.collections import COLLECTIONS, published
from stgcma.shards.manifest import read_dataset


@pytest.fixture(scope="module")
def info(clips):
    return read_dataset(clips)


def of_size(info, name, classes, **clips):
    counts = {split: {"written": n - 1, "quarantined": 1} for split, n in clips.items()}
    return dataclasses.replace(info, name=name, classes=tuple(map(str, range(classes))), counts=counts)


def test_the_published_collection_is_no_other_also_with_clips_in_quarantine(info):
    assert other_than_published(of_size(info, "ave", 29, train=3339, val=402, test=402)) == ""
    assert other_than_published(of_size(info, "vggsound", 309, train=12)) == ""


@pytest.mark.parametrize(
    ("name", "classes", "number", "expected"),
    [
        ("ave", 7, 160, "7 of 29 classes, 160 of 4,143 clips"),
        ("ave", 29, 160, "29 of 29 classes, 160 of 4,143 clips"),
        ("ave", 28, 4143, "28 of 29 classes, 4,143 of 4,143 clips"),
        ("avs-ms3", 0, 40, "40 of 424 clips"),
        ("vggsound", 8, 40, "8 of 309 classes"),
    ],
)
def test_other_counts_are_told(info, name, classes, number, expected):
    assert other_than_published(of_size(info, name, classes, train=number)) == expected


def test_collections_without_published_counts_are_not_compared(info):
    names = [name for name in COLLECTIONS if published(name) is None]
    assert "folder" in names
    assert {other_than_published(of_size(info, name, 3, train=9)) for name in names} == {""}
