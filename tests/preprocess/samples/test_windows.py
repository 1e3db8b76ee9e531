"""A video's windows and seconds, and what becomes of values where windows overlap."""

from dataclasses import replace

import numpy as np
import pytest
from stgcma.preprocess.collections import ave, avs_s4
from stgcma.preprocess.collections.windows import SecondsMerger, plan_windows, whole_seconds


@pytest.mark.parametrize(
    ("length", "spans"),
    [
        (0.3, [(0, 0.3)]),
        (4, [(0, 4)]),
        (10, [(0, 10)]),
        (10.02, [(0, 10.02)]),
        (9.6, [(0, 9.6)]),
        (20.4, [(0, 10), (10, 20.4)]),
        (20.6, [(0, 10), (10, 20), (11, 20.6)]),
        (25, [(0, 10), (10, 20), (15, 25)]),
    ],
)
def test_windows_cover_the_video_to_its_end(length, spans):
    windows = plan_windows(length, 10, ave.SAMPLING)
    assert [(window.start_seconds, window.end_seconds) for window in windows] == spans
    assert all(len(window.steps) == 10 for window in windows)


def test_seconds_end_with_the_video():
    assert whole_seconds(0.3) == ((0.0, 0.3),)
    assert whole_seconds(2.4) == ((0.0, 1.0), (1.0, 2.4))
    assert whole_seconds(2.6) == ((0.0, 1.0), (1.0, 2.0), (2.0, 2.6))


def test_steps_are_seconds_when_frames_are_in_the_middle_of_each():
    sampling = replace(ave.SAMPLING, frame_times="middle")
    first, last = plan_windows(14.8, 10, sampling)
    assert first.steps == tuple((second, second + 1.0) for second in range(10))
    assert last.steps[0] == (5.0, 6.0)
    assert last.steps[-1] == (14.0, 14.8)
    (short,) = plan_windows(6.8, 10, sampling)
    assert short.steps[5:8] == ((5.0, 6.0), (6.0, 6.8), (6.8, 6.8))


def merge(length, window_seconds, sampling, values):
    merger = SecondsMerger(length, plan_windows(length, window_seconds, sampling))
    merged = [second for window in values for second in merger.add(np.asarray(window, dtype=np.float64))]
    assert [second.index for second in merged] == list(range(len(whole_seconds(length))))
    assert [second.span for second in merged] == list(whole_seconds(length))
    return merged


def test_a_window_alone_keeps_its_values():
    values = np.arange(10.0) ** 2
    for length in (10.0, 10.02, 9.7):
        merged = merge(length, 10, ave.SAMPLING, [values])
        assert [float(second.value) for second in merged] == pytest.approx(values.tolist(), rel=1e-12)
        assert [second.step for second in merged] == list(range(10))


def test_seconds_of_two_windows_have_their_mean():
    merged = merge(13.0, 10, ave.SAMPLING, [np.zeros(10), np.ones(10)])
    assert [float(second.value) for second in merged] == [0] * 3 + [0.5] * 7 + [1] * 3


def test_a_short_video_shares_its_steps_out():
    merged = merge(4.0, 10, ave.SAMPLING, [np.arange(10.0)])  # steps of 0.4 s: two and a half a second
    expected = [(0.4 * 0 + 0.4 * 1 + 0.2 * 2), (0.2 * 2 + 0.4 * 3 + 0.4 * 4)]
    assert [float(second.value) for second in merged][:2] == pytest.approx(expected)
    (only,) = merge(0.3, 10, ave.SAMPLING, [np.arange(10.0)])
    assert float(only.value) == pytest.approx(4.5)


def test_frames_with_masks_stay_a_second_apart():
    merged = merge(2.0, 5, avs_s4.SAMPLING, [np.arange(5.0)])
    assert [float(second.value) for second in merged] == [0, 1]
