"""A clip ends where the streams that are used end, whatever the container says of others."""

import pytest
from stgcma.preprocess.media.audio import read_waveform
from stgcma.preprocess.media.probe import ClipError, probe
from stgcma.preprocess.media.video import read_frames
from stgcma.preprocess.media.video.frames import evenly

from .conftest import AAC, H264, VP8, picture, tone

SUBTITLE = """1
00:00:00,500 --> 00:00:01,000
a

2
00:00:01,500 --> 00:00:07,000
b
"""
LONG_SOUND = tone(seconds=6)
ALL = ["-map", "0", "-map", "1", "-map", "2"]
WMV = ["-c:v", "wmv2", "-c:a", "wmav2"]
MPEG = ["-c:v", "mpeg2video", "-c:a", "mp2"]
AVI = ["-c:v", "mpeg4", "-c:a", "libmp3lame"]
RECORDER = [*VP8, "-c:a", "libopus", "-f", "matroska", "-live", "1"]


def claimed_seconds(path):
    """The claimed end, when pictures and sound are read whole."""
    info = probe(path)
    read_frames(path, lambda times: evenly(times, 4), info=info)
    read_waveform(path, info=info)
    return info.claimed_end_seconds


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "srt"), ("a.mp4", "mov_text"), ("a.mov", "mov_text")])
def test_a_subtitle_may_last_longer(film, tmp_path, name, codec):
    (tmp_path / "a.srt").write_text(SUBTITLE)
    path = film(name, *picture(), *tone(), "-i", tmp_path / "a.srt", *ALL, *H264, *AAC, "-c:s", codec)
    assert claimed_seconds(path) == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize(
    ("name", "encoders"),
    [
        ("a.mkv", [*H264, *AAC]),
        ("a.mp4", [*H264, *AAC]),
        ("a.ts", [*H264, *AAC]),
        ("a.wmv", WMV),
        ("a.mpg", MPEG),
        ("a.avi", AVI),
    ],
)
def test_a_sound_stream_that_is_not_used_may_last_longer(film, name, encoders):
    path = film(name, *picture(), *tone(), *LONG_SOUND, *ALL, *encoders)
    assert claimed_seconds(path) == pytest.approx(2, abs=0.1)
    with pytest.raises(ClipError, match=r"picture ends at 2\.0\d s, the container claims [56]\.\d\d s"):
        read_frames(path, lambda times: evenly(times, 4), info=probe(path, sound=1))


@pytest.mark.parametrize("name", ["a.mkv", "a.webm"])
@pytest.mark.parametrize("offset", [10, 100_000])
def test_matroska_may_begin_at_any_time(film, name, offset):
    encoders = [*H264, *AAC] if name.endswith("mkv") else [*VP8, "-c:a", "libopus"]
    path = film(name, *picture(), *tone(rate_hz=48000), *encoders, "-output_ts_offset", offset)
    assert probe(path).duration_seconds > offset  # counted from zero
    assert claimed_seconds(path) == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("rate", [1, 2, 25])
def test_a_recording_may_have_no_duration(film, rate):
    source = [*picture(rate=rate, size="64x48", seconds=6), *tone(rate_hz=48000, seconds=6)]
    path = film("a.webm", *source, *RECORDER)
    assert probe(path).duration_seconds is None
    assert claimed_seconds(path) == pytest.approx(6, abs=0.05)


def test_the_last_picture_of_a_recording_may_stay(film):
    """Recorders of a screen write a picture when something moves."""
    source = [*picture(size="64x48", seconds=6), *tone(rate_hz=48000, seconds=6)]
    select = "select='eq(n,0)+eq(n,40)+eq(n,41)+eq(n,100)'"
    path = film("a.webm", *source, "-vf", select, "-fps_mode", "vfr", *RECORDER)
    assert claimed_seconds(path) == pytest.approx(6, abs=0.05)


def test_pictures_at_a_low_rate_in_avi_are_whole(film):
    path = film("a.avi", *picture(rate=2, seconds=6), *tone(seconds=6), *H264, "-c:a", "libmp3lame")
    assert claimed_seconds(path) == pytest.approx(6, abs=1.6)  # it counts the empty pictures at its start


def test_a_file_with_more_streams_that_was_cut_is_still_truncated(film):
    path = film("a.mkv", *picture(seconds=4), *tone(seconds=4), *LONG_SOUND, *ALL, *H264, *AAC)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    info = probe(path)
    for read in (read_waveform, lambda path, info: read_frames(path, lambda t: evenly(t, 4), info=info)):
        with pytest.raises(ClipError) as caught:
            read(path, info=info)
        assert caught.value.reason == "truncated"


def test_a_cut_file_with_an_offset_is_still_truncated(film):
    path = film("a.mkv", *picture(seconds=4), *tone(seconds=4), *H264, *AAC, "-output_ts_offset", 10)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ClipError, match=r"the container claims 4\.0\d s") as caught:
        read_waveform(path)
    assert caught.value.reason == "truncated"
