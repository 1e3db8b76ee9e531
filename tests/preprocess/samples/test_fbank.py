import numpy as np
import pytest
import torch
from stgcma.errors import InputError
from stgcma.preprocess.collections import ave
from stgcma.preprocess.collections.specification import FBANK_KINDS, FeatureSettings
from stgcma.preprocess.samples.fbank import audio_windows, log_mel
from torchaudio.compliance import kaldi


def test_windows_start_where_the_contract_says():
    waveform = np.arange(160_000, dtype=np.float32)
    windows = audio_windows(waveform, count=10, seconds=1.0)
    # By hand: floor(linspace(0, 160000 − 17600, 10)) has steps of 15822.2…
    expected = [0, 15822, 31644, 47466, 63288, 79111, 94933, 110755, 126577, 142400]
    mean = np.float32(79_999.5)
    assert [int(window[0] + mean + 0.5) for window in windows] == expected
    assert {len(window) for window in windows} == {16_000}


def test_the_mean_is_taken_off():
    windows = audio_windows(np.full(40_000, 0.25, dtype=np.float32), count=3, seconds=1.0)
    assert all(np.all(window == 0) for window in windows)


@pytest.mark.parametrize(("samples", "expected"), [(8_000, 8_000), (17_599, 16_000), (17_600, 16_000)])
def test_a_short_clip_gives_the_same_window(samples, expected):
    waveform = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    windows = audio_windows(waveform, count=10, seconds=1.0)
    assert len(windows) == 10
    assert {len(window) for window in windows} == {expected}
    assert all(np.array_equal(window, windows[0]) for window in windows)


@pytest.mark.parametrize(
    ("feature", "seconds", "frames"),
    # 25 ms windows every 160 (10 ms) or 70 (4.4 ms, rounded down) samples, the last one whole.
    [("fbank_128", 1.0, 98), ("fbank_128", 1.95, 102), ("fbank_224", 1.0, 223), ("fbank_224", 1.95, 224)],
)
def test_shapes_are_cut_to_the_target_and_not_padded(feature, seconds, frames):
    kind = FBANK_KINDS[feature]
    noise = np.random.default_rng(0).standard_normal((3, int(seconds * 16_000))).astype(np.float32)
    (features,) = log_mel(noise, [kind])
    assert features.shape == (3, frames, kind.mel_bins)
    assert features.dtype == np.float16
    assert np.isfinite(features).all()


def test_a_tone_lies_in_its_mel_bin():
    """An independent reference: the bin whose centre is nearest to the tone on the HTK mel scale."""
    hertz = 2_000.0
    tone = np.sin(2 * np.pi * hertz * np.arange(16_000) / 16_000).astype(np.float32)
    loudest = int(log_mel(tone[None], [FBANK_KINDS["fbank_128"]])[0][0].astype(np.float32).mean(0).argmax())

    def mel(frequency):
        return 1127 * np.log(1 + frequency / 700)

    centres = mel(20.0) + (np.arange(128) + 1) * (mel(8_000.0) - mel(20.0)) / 129
    assert abs(loudest - int(np.abs(centres - mel(hertz)).argmin())) <= 1


def test_less_than_one_analysis_frame_is_an_error():
    with pytest.raises(ValueError, match="399 samples"):
        log_mel(np.zeros((2, 399), dtype=np.float32), [FBANK_KINDS["fbank_128"]])


def test_a_single_window_without_its_dimension_is_an_error():
    with pytest.raises(ValueError, match=r"\[K, n\], not \[16000\]"):
        log_mel(np.zeros(16_000, dtype=np.float32), [FBANK_KINDS["fbank_128"]])


def tone_and_noise(seed):
    """Windows `[4, 31200]`: noise, a tone in faint noise, a click in silence, and speech-like bursts."""
    random = np.random.default_rng(seed)
    seconds = np.arange(31_200) / 16_000
    windows = random.standard_normal((4, len(seconds)))
    windows[1] = 0.5 * np.sin(2 * np.pi * 440 * seconds) + 1e-3 * windows[1]
    windows[2] = seconds == 1.0
    windows[3] *= 0.1 * np.abs(np.sin(2 * np.pi * 3 * seconds))
    return windows.astype(np.float32)


@pytest.mark.parametrize("feature", FBANK_KINDS)
def test_the_values_are_torchaudios_to_one_step_of_float16(feature):
    kind = FBANK_KINDS[feature]
    windows = tone_and_noise(seed=0)
    (ours,) = log_mel(windows, [kind])
    for window, made in zip(windows, ours, strict=True):
        # In float64, like ours: in float32 its own error is many steps where a window is nearly silent.
        theirs = kaldi.fbank(
            torch.from_numpy(window)[None].double(),
            htk_compat=True,
            sample_frequency=16_000,
            use_energy=False,
            window_type="hanning",
            num_mel_bins=kind.mel_bins,
            dither=0.0,
            frame_shift=kind.frame_shift_milliseconds,
        )
        expected = theirs[: kind.target_frames].numpy().astype(np.float16)
        apart = np.abs(made.astype(np.float64) - expected)
        # Below 2 the steps are finer than the mel weights, which torchaudio computes in float32.
        step = np.maximum(np.spacing(np.abs(expected)).astype(np.float64), 2.0**-10)
        assert (apart <= step).all()
        assert (apart > 0).mean() < 0.05


def test_kinds_and_windows_do_not_affect_one_another():
    windows = tone_and_noise(seed=1)
    kinds = list(FBANK_KINDS.values())
    together = log_mel(windows, kinds)
    for kind, made in zip(kinds, together, strict=True):
        for place in range(len(windows)):
            (alone,) = log_mel(windows[place : place + 1], [kind])
            np.testing.assert_array_equal(made[place], alone[0])


def test_digital_silence_is_the_floor():
    for made in log_mel(np.zeros((1, 16_000), dtype=np.float32), list(FBANK_KINDS.values())):
        # log of the machine epsilon of float32, as Kaldi has it.
        assert np.unique(made).tolist() == [np.float16(-15.942385)]


def test_an_alias_and_its_member_are_the_same_settings_with_the_same_json():
    by_alias = FeatureSettings(ave.SAMPLING, ("swin", "clip"))
    by_member = FeatureSettings(ave.SAMPLING, ("fbank_224", "fbank_128", "clip"))
    assert by_alias == by_member
    assert by_member.to_json()["fbanks"] == {  # as every version has written it: fingerprints depend on it
        "clip": {"mel_bins": 128, "frame_shift_milliseconds": 10.0, "target_frames": 102},
        "swin": {"mel_bins": 224, "frame_shift_milliseconds": 4.4, "target_frames": 224},
    }


@pytest.mark.parametrize("names", [(), ("clip", "fbank_64")])
def test_unknown_fbanks_are_refused(names):
    with pytest.raises(InputError, match="choose from clip, swin, fbank_128, fbank_224"):
        FeatureSettings(ave.SAMPLING, names)
