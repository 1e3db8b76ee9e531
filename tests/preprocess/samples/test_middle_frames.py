"""Frames in the middle of each second, and sound that stays in step with them."""

import io

import numpy as np
import pytest
from stgcma.preprocess.collections.specification import FeatureSettings, Sampling
from stgcma.preprocess.samples.sample import choose_frames, fbank_members

MIDDLE = Sampling(frames=10, frame_times="middle", resize="crop", windows=10, window_seconds=1.0)


@pytest.mark.parametrize(
    ("fps", "seconds", "expected"),
    [
        # At 30 frames a second frames 15 and 45, at 25 the middle lies halfway: the earlier frame.
        (30, 10, [15, 45, 75, 105, 135, 165, 195, 225, 255, 285]),
        (25, 10, [12, 37, 62, 87, 112, 137, 162, 187, 212, 237]),
        (6, 10, [3, 9, 15, 21, 27, 33, 39, 45, 51, 57]),
        # The shortest clip of LLP: seconds without a frame get the last one.
        (25, 6.8, [12, 37, 62, 87, 112, 137, 162, 169, 169, 169]),
        (0.5, 10, [0, 1, 1, 2, 2, 3, 3, 4, 4, 4]),
    ],
)
def test_frames_are_nearest_to_the_middle_of_each_second(fps, seconds, expected):
    times = np.arange(round(seconds * fps)) / fps
    assert choose_frames(times, MIDDLE).tolist() == expected


def energies(waveform):
    members, _ = fbank_members(waveform, FeatureSettings(MIDDLE, ("clip",)))
    return np.load(io.BytesIO(members["fbank_128.npy"])).astype(np.float32)


@pytest.mark.parametrize("seconds", [6.8, 10, 11.5])
def test_windows_of_sound_are_the_seconds_of_the_clip(seconds):
    """A tone in second 3 is in window 3 alone, but for the margin; a missing end is silent."""
    times = np.arange(round(seconds * 16_000)) / 16_000
    tone = 0.5 * np.sin(2 * np.pi * 440 * times) * ((times >= 3) & (times < 4))
    loudest = energies(tone.astype(np.float32)).max((1, 2))
    assert loudest.shape == (10,)
    assert loudest.argmax() == 3
    assert (loudest[5:] < -5).all()
