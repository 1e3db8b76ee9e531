"""The sound stream that is taken, its channels, and the clock that it shares with the pictures."""

import numpy as np
import pytest
from stgcma.errors import InputError
from stgcma.preprocess.media.audio import SAMPLE_RATE_HZ, read_waveform
from stgcma.preprocess.media.probe import ClipError, probe
from stgcma.preprocess.media.sound_choice import check_choice, probe_with_sound, silence_warnings
from stgcma.preprocess.media.video import read_frames
from stgcma.preprocess.media.video.frames import evenly

from .conftest import AAC, H264, picture

SILENCE = ["-f", "lavfi", "-i", "anullsrc=r=44100:cl=mono:d=2"]
TWO = ["-map", "0", "-map", "1", "-map", "2", *H264, *AAC]
DEFAULT_IS_SECOND = ["-disposition:a:0", "0", "-disposition:a:1", "default"]
NO_DEFAULT = ["-disposition:a:0", "0", "-disposition:a:1", "0"]
MATROSKA = ["-default_mode", "passthrough"]


def sine(hertz, amplitude=0.5):
    return ["-f", "lavfi", "-i", f"aevalsrc={amplitude}*sin({2 * hertz}*PI*t):s=44100:d=2"]


def tone_hz(waveform):
    """The loudest frequency; 0 for silence."""
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return round(float(spectrum.argmax()) * SAMPLE_RATE_HZ / len(waveform)) if spectrum.max() > 1 else 0


def heard(path, choice="default"):
    info, warnings = probe_with_sound(path, choice)
    return tone_hz(read_waveform(path, info=info)), warnings


@pytest.mark.parametrize("name", ["two.mkv", "two.mp4", "two.mov"])
def test_the_default_stream_is_taken(film, name):
    path = film(name, *picture(), *SILENCE, *sine(880), *TWO, *DEFAULT_IS_SECOND)
    warning = "it has 2 sound streams: number 1 (from 0), the default one, was taken"
    assert heard(path) == (880, [warning])
    assert heard(path, "0") == (0, [])


def test_without_a_default_the_first_is_taken_that_is_no_comment(film):
    ending = [*TWO, *NO_DEFAULT, *MATROSKA]
    assert heard(film("plain.mkv", *picture(), *sine(440), *sine(880), *ending))[0] == 440
    comment = [*ending, "-disposition:a:0", "comment"]
    assert heard(film("comment.mkv", *picture(), *sine(440), *sine(880), *comment))[0] == 880


def test_of_several_defaults_the_first_is_taken_that_is_no_comment(film):
    both = ["-disposition:a:0", "default+comment", "-disposition:a:1", "default"]
    assert heard(film("both.mkv", *picture(), *sine(440), *sine(880), *TWO, *both))[0] == 880
    one = ["-disposition:a:0", "default+comment", "-disposition:a:1", "0"]
    assert heard(film("one.mkv", *picture(), *sine(440), *sine(880), *TWO, *one))[0] == 440


def test_the_loudest_stream_and_a_numbered_one(film):
    path = film("two.mkv", *picture(), *sine(440, 0.1), *sine(880, 0.4), *TWO)
    assert heard(path)[0] == 440
    assert heard(path, "loudest") == (
        880,
        ["it has 2 sound streams: number 1 (from 0), the loudest one, was taken"],
    )
    assert heard(path, "1") == (880, [])
    short = ["-f", "lavfi", "-i", "aevalsrc=0.9*sin(1760*PI*t):s=44100:d=0.1"]
    assert heard(film("short.mkv", *picture(), *sine(440, 0.3), *short, *TWO), "loudest")[0] == 440
    with pytest.raises(
        ClipError, match="sound stream 2 was asked for, counted from 0, and it has 2"
    ) as caught:
        heard(path, "2")
    assert caught.value.reason == "no-audio"


@pytest.mark.parametrize("choice", ["second", "-1", "1.5", "", "²"])
def test_another_choice_is_refused(choice):
    with pytest.raises(InputError, match="must be default, loudest, or a number counted from 0"):
        check_choice(choice)


def test_digital_silence_is_told_from_faint_sound():
    silent = ["its sound is digital silence"]
    assert silence_warnings(np.zeros(1000, np.float32)) == silent
    assert silence_warnings(np.full(1000, 0.25, np.float32)) == silent
    assert silence_warnings(np.tile(np.float32([0, 2**-14]), 500)) == []


EIGHT = "|".join(["0.3*sin(880*PI*t)"] * 8)
FOUR = "|".join(["0.3*sin(880*PI*t)"] * 4)
OPUS = ["-c:a", "libopus", "-mapping_family"]
# First order: W, Y, Z, X.
AMBISONIC = ["-af", "channelmap=map=0|1|2|3:channel_layout=ambisonic 1", *OPUS, "2"]


@pytest.mark.parametrize(
    ("name", "waves", "layout", "encoder"),
    [
        ("aac.mp4", EIGHT, "7.1", AAC),
        ("pcm.mov", EIGHT, "octagonal", ["-c:a", "pcm_s16le"]),
        ("float.mov", f"{EIGHT}|{EIGHT}", "hexadecagonal", ["-c:a", "pcm_f32le"]),
        ("flac.mkv", EIGHT, "7.1", ["-c:a", "flac"]),
        ("discrete.mkv", f"{EIGHT}|{EIGHT}", "hexadecagonal", [*OPUS, "255"]),
        ("ambisonic.mkv", FOUR, "4.0", AMBISONIC),
    ],
)
def test_many_channels_are_mixed(film, name, waves, layout, encoder):
    sound = ["-f", "lavfi", "-i", f"aevalsrc={waves}:c={layout}:s=48000:d=2"]
    path = film(name, *picture(), *sound, *H264, *encoder)
    waveform = read_waveform(path)
    assert len(waveform) == pytest.approx(2 * SAMPLE_RATE_HZ, abs=200)
    assert np.abs(waveform[4000:-4000]).max() == pytest.approx(0.3, abs=0.03)
    assert tone_hz(waveform) == 440


FLASH = "nullsrc=s=64x48:r={rate}:d=4,geq=lum='if(gte(T,1.999),235,16)':cb=128:cr=128"
BEEP = ["-f", "lavfi", "-i", r"aevalsrc=0.5*sin(880*PI*t)*gte(t\,2):s=44100:d=4"]


def flash_and_beep(path):
    """Both in seconds of clip time, as the decoders see and hear them."""
    info = probe(path)
    frames = read_frames(path, lambda times: np.arange(len(times)), info=info)
    bright = frames.images.reshape(len(frames.images), -1).mean(axis=1) > 127
    waveform = read_waveform(path, info=info)
    return frames.times_seconds[bright.argmax()], float((np.abs(waveform) > 0.1).argmax()) / SAMPLE_RATE_HZ


@pytest.fixture
def synchronous(film):
    """`synchronous(name, rate, *arguments)`: at second 2 the picture turns white and a tone begins."""

    def make(name, rate, *arguments):
        return film(name, "-f", "lavfi", "-i", FLASH.format(rate=rate), *BEEP, *arguments)

    return make


@pytest.mark.parametrize(("rate", "cut"), [(25, 0.53), (25, 1.1), (2, 0.53), (2, 0.75)])
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_a_cut_between_key_pictures_keeps_both_on_one_clock(synchronous, film, rate, cut, suffix):
    x264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", str(rate)]
    whole = synchronous("whole.mp4", rate, *x264, *AAC)
    path = film(f"cut.{suffix}", "-ss", str(cut), "-i", whole, "-c", "copy")
    assert flash_and_beep(path) == pytest.approx((2 - cut, 2 - cut), abs=0.002)


@pytest.mark.parametrize(
    ("rate", "video", "audio"),
    [
        (25, ["mpeg4"], ["libmp3lame"]),
        (25, ["mpeg4", "-bf", "2"], ["libmp3lame"]),
        (25, ["libx264", "-pix_fmt", "yuv420p"], ["libmp3lame"]),
        (2, ["libx264", "-pix_fmt", "yuv420p"], ["libmp3lame"]),
        (10, ["mjpeg"], ["libmp3lame"]),
        (25, ["mpeg4"], ["mp2"]),
        (25, ["mpeg4"], ["ac3"]),
        (25, ["mpeg4"], ["pcm_s16le"]),
    ],
)
def test_in_avi_the_encoders_delay_is_taken_off(synchronous, rate, video, audio):
    path = synchronous("clip.avi", rate, "-c:v", *video, "-c:a", *audio)
    assert flash_and_beep(path) == pytest.approx((2, 2), abs=0.002)


@pytest.mark.parametrize("name", ["h264.mkv", "h264.ts", "h264.mp4"])
def test_elsewhere_the_timestamps_tell(synchronous, name):
    path = synchronous(name, 25, *H264, *AAC)
    assert flash_and_beep(path) == pytest.approx((2, 2), abs=0.002)


def test_every_decoder_has_the_same_clock(synchronous, film):
    whole = synchronous("whole.mp4", 5, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "10", *AAC)
    path = film("cut.mp4", "-ss", "0.55", "-i", whole, "-c", "copy")
    times = [
        read_frames(path, lambda times: evenly(times, 5), decoder=decoder).times_seconds
        for decoder in ("pyav", "ffmpeg")
    ]
    assert times[0][0] == pytest.approx(0.05, abs=0.002)
    np.testing.assert_array_equal(*times)
