"""Totals of losses and scores: sums, means by hand, and the form of state files."""

import pytest
from stgcma.train.state import Progress
from stgcma.train.totals import Totals

FIRST = Totals({"answer": 6.0, "match": 2.0}, {"answer": 3.0, "match": 8.0}, score=2.0, scored=3.0)
SECOND = Totals({"answer": 1.0, "match": 4.0}, {"answer": 1.0, "match": 4.0}, score=1.0, scored=1.0)
# As every version has written them.
SUMS = {
    "answer": 7.0,
    "answer count": 4.0,
    "match": 6.0,
    "match count": 12.0,
    "score": 3.0,
    "score count": 4.0,
}


def both():
    totals = Totals()
    totals.add(FIRST)
    totals.add(SECOND)
    return totals


def test_means_are_those_of_all_clips():
    assert both().mean_loss({"answer": 1.0, "match": 0.5}) == pytest.approx(7 / 4 + 0.5 * 6 / 12)
    assert both().mean_score() == pytest.approx(3 / 4)


def test_nothing_counted_is_zero():
    nothing = Totals({"answer": 0.0}, {"answer": 0.0})
    assert (nothing.mean_loss({"answer": 1.0}), nothing.mean_score()) == (0.0, 0.0)


def test_a_state_holds_the_sums_by_name():
    assert both().to_sums() == SUMS
    assert Totals.from_sums(SUMS) == both()
    assert Totals.from_sums(Totals().to_sums()) == Totals()


def test_progress_is_read_as_it_was_written():
    progress = Progress(step=5, epoch=1, batch=2, totals=both(), best_epoch=1, best_score=0.5)
    content = progress.to_state()
    assert content["sums"] == SUMS
    assert "totals" not in content
    assert Progress.from_state(content) == progress
