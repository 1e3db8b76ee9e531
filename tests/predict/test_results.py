"""Results: tables for people, JSON for machines."""

from pathlib import Path

import pytest
from stgcma.predict import (
    Answer,
    AvePrediction,
    AvqaPrediction,
    AvsPrediction,
    Event,
    Failure,
    MaskedSecond,
    Predictions,
    Second,
    Step,
)

BELL = Second(0.0, 1.0, "Bell", 0.12345678, False, (("Bell", 0.12345678), ("Dog", 0.1)))


def ave(video="a.mp4", *, seconds=(), events=()):
    return AvePrediction(Path(video), 65.2, (), (), seconds=seconds, events=events)


def all_of(*videos, failures=()):
    return Predictions(Path("run"), "ave", videos, failures, ())


def test_videos_that_share_a_name_are_listed_by_their_paths():
    header, rows = all_of(*map(ave, ("x/a.mp4", "y/a.mp4", "y/b.mp4"))).rows()
    assert header == ("video", "from", "to", "event", "confidence")
    assert [row[0] for row in rows] == ["x/a.mp4", "y/a.mp4", "b.mp4"]


def test_events_are_rows_and_so_is_their_absence():
    events = (Event(0.0, 2.0, "Bell", 0.6), Event(61.0, 65.2, "Dog", 0.999))
    assert ave(events=events).rows() == [("0:00", "0:02", "Bell", "60 %"), ("1:01", "1:05", "Dog", ">99 %")]
    assert ave().rows() == [("0:00", "1:05", "no event", "")]
    assert all_of().rows() == ((), [])


def test_shares_have_six_digits_in_json():
    said = all_of(ave(seconds=(BELL,)), failures=(Failure(Path("b.mp4"), "empty", "no bytes"),)).to_json()
    likely = {"class": "Bell", "confidence": 0.123457}
    assert said["videos"] == [
        {
            "video": "a.mp4",
            "length_seconds": 65.2,
            "warnings": [],
            "seconds": [
                {"start": 0.0, "end": 1.0, **likely, "background": False}
                | {"top": [likely, {"class": "Dog", "confidence": 0.1}]}
            ],
            "events": [],
            "files": [],
        }
    ]
    assert said["failures"] == [{"video": "b.mp4", "reason": "empty", "message": "no bytes"}]


def test_masks_are_summed_up_in_one_row():
    seconds = tuple(MaskedSecond(start, start + 1.0, share, None) for start, share in enumerate((0, 0.5, 1)))
    result = AvsPrediction(Path("a.mp4"), 3.0, (), (), 160, 120, seconds)
    assert result.rows() == [("3", "50 %", "0 %", "100 %")]
    assert result.to_json()["seconds"][1] == {"start": 1, "end": 2.0, "share": 0.5, "mask": None}


@pytest.mark.parametrize(("rivals", "last"), [((("no", 0.25), ("two", 0.1)), ("no", "25 %")), ((), ("", ""))])
def test_an_answer_stands_beside_its_nearest_rival(rivals, last):
    answer = Answer("Why?", "yes", 0.5, rivals, ("Why",), (), (("yes", 0.5),), (Step(0, 0.0, 1.2, 0.7, 0.3),))
    result = AvqaPrediction(Path("a.mp4"), 1.2, (), (), (answer,), (((1.0,),),))
    assert result.rows() == [("Why?", "yes", "50 %", *last)]
    said = result.to_json()
    assert said["answers"][0]["steps"] == [{"window": 0, "start": 0.0, "end": 1.2, "seen": 0.7, "heard": 0.3}]
    assert said["answers"][0]["rivals"] == [{"answer": name, "confidence": share} for name, share in rivals]
    assert said["grounding"] == [[[1.0]]]
