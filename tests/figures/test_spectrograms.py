"""Spectrograms: time to the right, frequency upwards, loud is bright."""

import numpy as np
from stgcma.figures import spectrogram


def brightness(image):
    return np.asarray(image.convert("L")).astype(float)


def test_time_runs_to_the_right_and_frequency_upwards():
    energies = np.full((2, 8, 16), -10, dtype=np.float16)
    energies[1, 4:, 12:] = 5  # the last quarter, high tones
    drawn = brightness(spectrogram(energies))
    assert drawn.shape == (112, 224)
    loud = drawn[:20, 180:]
    assert loud.mean() > 150 > 30 > drawn[:, :150].mean()
    assert drawn[60:, 180:].mean() < 30


def test_silence_is_drawn():
    assert brightness(spectrogram(np.zeros((1, 4, 4), dtype=np.float16))).max() < 40
