"""The waveform: its rate, its level, and that it starts when the picture does."""

import numpy as np
import pytest
from stgcma.preprocess.audio import SAMPLE_RATE_HZ, read_waveform
from stgcma.preprocess.media import ClipError, probe

SOUNDS = [
    "h264.mp4",
    "hevc-23976.mp4",
    "vp9-2997.webm",
    "vp8.webm",
    "av1.mp4",
    "av1.webm",
    "mpeg4.avi",
    "stream.ts",
    "fragments.mp4",
    "surround.mp4",
    "stereo.mp4",
    "edit-list.mp4",
    "sound.m4a",
    "opengop.mkv",
]


def onset_seconds(waveform):
    return np.flatnonzero(np.abs(waveform) > 0.1)[0] / SAMPLE_RATE_HZ


def pitch_hz(waveform):
    spectrum = np.abs(np.fft.rfft(waveform))
    return spectrum.argmax() * SAMPLE_RATE_HZ / len(waveform)


@pytest.mark.parametrize("name", SOUNDS)
def test_every_kind_of_sound_becomes_16_khz_mono(clip, name):
    info = probe(clip(name))
    waveform = read_waveform(info.path, info=info)
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert len(waveform) / SAMPLE_RATE_HZ == pytest.approx(info.claimed_end_seconds, abs=0.1)
    assert pitch_hz(waveform) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("name", ["h264.mp4", "stereo.mp4"])
def test_equal_channels_keep_their_level(clip, name):
    assert np.abs(read_waveform(clip(name)))[4000:-4000].max() == pytest.approx(0.5, abs=0.05)


def test_sound_that_starts_late_is_padded(clip):
    waveform = read_waveform(clip("audio-late.mp4"))
    assert onset_seconds(waveform) == pytest.approx(
        0.3, abs=0.025
    )  # AAC spreads an onset over its first frame
    assert np.abs(waveform[: int(0.27 * SAMPLE_RATE_HZ)]).max() == 0


def test_sound_before_the_first_picture_is_cut(clip):
    info = probe(clip("video-late.mp4"))
    assert info.video.start_seconds == pytest.approx(0.3, abs=0.04)
    waveform = read_waveform(info.path, info=info)
    assert len(waveform) / SAMPLE_RATE_HZ == pytest.approx(2.3 - info.video.start_seconds, abs=0.03)
    assert onset_seconds(waveform) < 0.01


def test_a_clip_without_sound_says_so(clip):
    with pytest.raises(ClipError, match="the file has no audio stream") as caught:
        read_waveform(clip("silent.mp4"))
    assert caught.value.reason == "no-audio"


def test_sound_that_ends_early_is_truncated(clip):
    with pytest.raises(ClipError, match=r"sound ends at 1\.0\d s, the container claims 2\.00 s") as caught:
        read_waveform(clip("sound-short.mp4"))
    assert caught.value.reason == "truncated"


def test_damaged_sound_is_not_passed_over(clip, tmp_path):
    import av

    path = clip("h264.mp4")
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
    data = bytearray(path.read_bytes())
    for packet in packets[30:34]:
        data[packet.pos : packet.pos + packet.size] = bytes([0xFF]) * packet.size
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(data)
    with pytest.raises(ClipError, match="its sound does not decode") as caught:
        read_waveform(damaged)
    assert caught.value.reason == "unreadable"
