"""`data.where`: training clips that meet a condition on the manifest."""

import numpy as np
import pytest
from stgcma.errors import InputError, StgcmaError
from stgcma.shards.manifest import read_manifest
from stgcma.shards.reader import split_places
from stgcma.train.config import load_preset

from .conftest import item, load

SOME = "key in ('clip-01', 'clip-05', 'clip-06', 'clip-21')"


def test_clips_that_do_not_meet_the_condition_are_left_out(dataset, many):
    clips = dataset(many, where=SOME, seed=1)
    assert [place.key for place in clips.places] == ["clip-01", "clip-05", "clip-06", "clip-21"]
    assert clips.selection == {"selected": 4, "clips": 22, "unknown": 0}
    assert [clips[item(index)].key for index in range(4)] == [place.key for place in clips.places]
    assert sorted(key for batch in load(clips, batch=3) for key in batch.keys) == sorted(
        place.key for place in clips.places
    )
    assert dataset(many).selection is None


def test_lengths_are_those_of_the_selected_clips(dataset, many):
    seconds = {record.key: record.seconds for record in read_manifest(many)}
    some = dataset(many, where=SOME)
    assert some.usual_seconds == np.median([seconds[place.key] for place in some.places])


def test_questions_are_counted_for_the_selected_clips(dataset, kept_shards):
    shards = kept_shards("avqa")
    every = dataset(shards).question_counts()
    second = dataset(shards).places[1].key
    assert dataset(shards, where=f"key == {second!r}").question_counts().tolist() == [every[1]]


def test_a_condition_that_selects_nothing_is_refused(dataset, many):
    with pytest.raises(InputError, match=r"data\.where=.* selects none of the 22 train clips"):
        dataset(many, where="key == 'x'")


def test_a_wrong_condition_is_a_wrong_setting():
    with pytest.raises(InputError, match="moton is no column of the manifest; did you mean motion"):
        load_preset("ave-demo", ["data.where=moton > 0.1"])
    assert load_preset("ave-demo", ["data.where=motion > 0.1"]).data.of_all_clips().where is None


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("source == 'a: b'", "source == 'a: b'"),
        ("source == 'a #1'", "source == 'a #1'"),
        ("'a' != key", "'a' != key"),
        ('"motion > 0.1"', "motion > 0.1"),
        ("null", None),
    ],
)
def test_a_condition_is_not_read_as_yaml_but_for_quotes_around_it(text, condition):
    assert load_preset("ave-demo", [f"data.where={text}"]).data.where == condition


def test_a_manifest_that_changes_meanwhile_is_an_error(dataset, many, monkeypatch):
    monkeypatch.setattr(
        "stgcma.train.data.split_places", lambda *found: [each[1:] for each in split_places(*found)]
    )
    with pytest.raises(StgcmaError, match="the manifest was written while it was read; try again"):
        dataset(many, where=SOME)
