"""The forecast of a run's end, from times that are given: the tests measure none."""

import itertools
import re

import pytest
from stgcma.train import pace as pace_module
from stgcma.train import trainer as training
from stgcma.train.pace import Pace
from stgcma.train.run import train

from .outcomes import train_killed


class Clock:
    """A clock that runs when it is told to."""

    seconds = 1000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


def steps(pace, clock, *seconds):
    for each in seconds:
        clock.seconds += each
        pace.count_step()


def test_an_epoch_tells_its_time_and_the_rest(clock):
    pace = Pace(scoring_seconds=None, clock=clock)
    pace.begin_epoch()
    steps(pace, clock, 100, 50, 1, 2, 1, 2)  # the first two are no measure
    clock.seconds += 24
    text = pace.end_epoch(steps_left=19 * 6, epochs_left=19, is_whole=True)
    assert text == "took 0:03:00, about 0:10:27 left"  # 114 · 1.5 s + 19 · 24 s
    pace.begin_epoch()
    steps(pace, clock, *6 * [1.5])
    clock.seconds += 10
    text = pace.end_epoch(steps_left=18 * 6, epochs_left=18, is_whole=True)
    assert text == "took 19 s, about 0:05:42 left"  # of scoring, the last time counts
    assert pace.end_epoch(steps_left=0, epochs_left=0, is_whole=True).count("left") == 0


def test_the_first_steps_count_where_there_are_no_others(clock):
    pace = Pace(scoring_seconds=None, clock=clock)
    steps(pace, clock, 8)
    clock.seconds += 2
    assert pace.end_epoch(steps_left=3, epochs_left=3, is_whole=True) == "took 10 s, about 30 s left"


def test_half_a_minute_of_steps_is_told_once(clock):
    pace = Pace(scoring_seconds=None, clock=clock)
    left = {"steps_left": 3600, "epochs_left": 2}
    steps(pace, clock, 60, 60, *9 * [3])
    assert pace.first_forecast(**left) is None
    steps(pace, clock, 3)
    assert pace.first_forecast(**left) == "3.0 s a step, about 3:00:00 left, without scoring"
    assert pace.first_forecast(**left) is None


def test_a_resumed_run_knows_how_long_scoring_took(clock):
    pace = Pace(scoring_seconds=30.0, clock=clock)
    steps(pace, clock, 1, 1, 30)
    text = pace.first_forecast(steps_left=20, epochs_left=2)
    assert text == "30 s a step, about 0:11:00 left, with scoring"
    clock.seconds += 8
    text = pace.end_epoch(steps_left=2, epochs_left=1, is_whole=False)
    assert text == "took 40 s since it was resumed, about 0:01:08 left"


def test_a_run_and_its_resumption_tell_the_time_left(four_clips, small_config, tmp_path, monkeypatch, capsys):
    """Every reading of the clock is a second after the last one."""
    monkeypatch.setattr(pace_module, "_FORECAST_AFTER_SECONDS", 1.0)
    ticks = itertools.count()
    monkeypatch.setattr(
        training, "Pace", lambda **arguments: Pace(**arguments, clock=lambda: float(next(ticks)))
    )
    config = small_config("ave", "optim.epochs=3", "optim.batch_size=1", "train.save_every_steps=1")
    train_killed(four_clips, tmp_path / "run", config, monkeypatch, after=4)
    # Two steps and scoring; left are four steps, and scoring after two epochs.
    assert re.search(r"^epoch 1/3: loss .* · took 3\.0 s, about 6\.0 s left$", capsys.readouterr().err, re.M)
    train(four_clips, tmp_path / "run", config, resume=True)
    said = capsys.readouterr().err
    assert re.search(r"^epoch 2/3: .* · took 2\.0 s since it was resumed, about 3\.0 s left$", said, re.M)
    assert re.search(r"^epoch 3/3: .* · took 3\.0 s$", said, re.M)
