"""Statistics of clips for the manifest, against other computations of the same definitions."""

import numpy as np
import pytest
import torch
from PIL import Image
from stgcma.preprocess.samples.clip_statistics import (
    clip_statistics,
    frame_steps,
    sharpness,
    sound_statistics,
)

RNG = np.random.default_rng(5)


def tone(amplitude, seconds=1.0, offset=0.0):
    times = np.arange(round(16_000 * seconds)) / 16_000
    return (amplitude * np.sin(2 * np.pi * 440 * times) + offset).astype(np.float32)


@pytest.mark.parametrize("offset", [0.0, 0.25])
def test_loudness_is_the_root_mean_square_without_the_mean(offset):
    # Of a sine it is its amplitude divided by the root of 2: -9.03 dB at half of full scale.
    loudness, silence = sound_statistics(tone(0.5, offset=offset))
    assert loudness == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)
    assert silence == 0


def test_loudness_of_noise_is_that_of_floating_point():
    noise = RNG.normal(0, 0.05, 40_321).astype(np.float32)
    expected = 20 * np.log10(np.std(noise.astype(np.float64)))
    assert sound_statistics(noise)[0] == pytest.approx(expected, abs=0.006)


def test_a_sound_without_samples_above_the_floor_is_mute():
    statistics = clip_statistics(np.zeros(16_000, np.float32), [Image.new("RGB", (8, 8))] * 2)
    assert (statistics.loudness_db, statistics.silence, statistics.mute) == (-100.0, 1.0, True)


def test_silence_is_the_share_of_blocks_below_60_decibels():
    # A sine of 0.001 is at -63 dB, one of 0.002 at -57 dB; a rest of 50 ms does not count.
    sound = np.concatenate([tone(0.001, 0.3), tone(0.002, 0.1), tone(0.5, 0.6), tone(0.001, 0.05)])
    assert sound_statistics(sound)[1] == 0.3


def test_a_sound_shorter_than_a_block_is_one_block():
    assert sound_statistics(tone(0.5, 0.03))[1] == 0


def test_motion_is_the_mean_difference_of_consecutive_frames():
    frames = [Image.new("RGB", (6, 4), (value,) * 3) for value in (10, 60, 60, 50)]
    statistics = clip_statistics(tone(0.5), frames)
    assert statistics.motion == pytest.approx((50 + 0 + 10) / 3 / 255, abs=1e-6)
    assert statistics.brightness == pytest.approx((10 + 60 + 60 + 50) / 4 / 255, abs=1e-6)
    assert statistics.sharpness == 0
    assert (statistics.still, statistics.mute) == (False, False)


@pytest.mark.parametrize(("changed", "still"), [(23, True), (24, False)])
def test_a_clip_is_still_when_no_step_is_a_grey_level(changed, still):
    before, after = np.full((4, 6, 3), 100, np.uint8), np.full((4, 6, 3), 100, np.uint8)
    after.reshape(24, 3)[:changed] += 1
    statistics = clip_statistics(tone(0.5), list(map(Image.fromarray, (before, after, after))))
    assert statistics.still == still


def test_one_frame_has_no_motion():
    statistics = clip_statistics(tone(0.5), [Image.new("RGB", (8, 8))])
    assert (statistics.motion, statistics.still) == (None, None)


def test_frame_steps_and_sharpness_are_those_of_floating_point():
    luma = RNG.integers(0, 256, (3, 20, 30), np.uint8)
    real = torch.from_numpy(luma).double()
    assert frame_steps(luma) == pytest.approx((real[1:] - real[:-1]).abs().mean((1, 2)).tolist(), rel=1e-12)
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=torch.float64)
    laplacian = torch.nn.functional.conv2d(real[:1, None], kernel[None, None])
    assert sharpness(luma[0]) == pytest.approx(laplacian.var(correction=0).item(), rel=1e-12)
