"""Frame numbers of AVSBench's preparation scripts."""

import pytest
from stgcma.preprocess.collections.frame_times import last_sixteenth_frames


@pytest.mark.parametrize("fps", [10, 23, 24, 25, 30, 50, 60])
def test_the_last_of_16_evenly_spaced_frames_is_taken(fps):
    for second, number in enumerate(last_sixteenth_frames(5, rounded_fps=fps, frames_in_file=1000)):
        starts = [int(second * fps + sixteenth / 16 * fps) for sixteenth in range(16)]
        assert number == starts[-1]


def test_beyond_the_end_it_is_the_last_frame():
    assert last_sixteenth_frames(3, rounded_fps=8, frames_in_file=17) == (7, 15, 16)
    assert last_sixteenth_frames(3, rounded_fps=8, frames_in_file=1) == (0, 0, 0)


@pytest.mark.parametrize(("fps", "frames"), [(0, 5), (25, 0)])
def test_no_frames_are_refused(fps, frames):
    with pytest.raises(ValueError, match=f"rounded_fps is {fps}, frames_in_file {frames}"):
        last_sixteenth_frames(5, rounded_fps=fps, frames_in_file=frames)
