"""Facts that the probe reads from a file, and its errors for bad files."""

import os
import pickle

import pytest
from stgcma.preprocess.media.probe import REASONS, ClipError, DamageError, probe
from stgcma.preprocess.media.video import read_frames
from stgcma.preprocess.media.video.frames import evenly


def test_facts_of_a_plain_clip(clip):
    info = probe(clip("h264.mp4"))
    assert info.duration_seconds == pytest.approx(2.0)
    assert (info.video.codec, info.video.width, info.video.height) == ("h264", 160, 120)
    assert (info.video.fps_average, info.video.start_seconds) == (25, 0)
    assert (info.video.orientation.upright, info.video.square_size, info.video.warnings) == (
        True,
        (160, 120),
        (),
    )
    assert (info.video.pixel_format, info.video.interlaced) == ("yuv420p", False)
    assert (info.audio.codec, info.audio.sample_rate_hz, info.audio.channels) == ("aac", 44100, 1)
    assert info.clip_start_seconds == 0
    assert info.claimed_end_seconds == pytest.approx(2.0)


def test_facts_of_uncommon_clips(clip):
    assert probe(clip("surround.mp4")).audio.channels == 6
    assert probe(clip("vp9-2997.webm")).video.fps_average == pytest.approx(29.97, abs=0.01)
    assert probe(clip("hevc-10bit.mp4")).video.pixel_format == "yuv420p10le"
    assert probe(clip("interlaced.mp4")).video.interlaced
    assert probe(clip("silent.mp4")).audio is None
    assert probe(clip("sound.m4a")).video is None
    assert probe(clip("cover.mp4")).video is None
    assert probe(clip("audio-late.mp4")).audio.start_seconds == pytest.approx(0.3, abs=0.03)
    late = probe(clip("video-late.mp4"))
    assert late.clip_start_seconds == late.video.start_seconds
    assert late.claimed_end_seconds == pytest.approx(2.0, abs=0.05)


def test_errors_cross_process_borders():
    for error in (ClipError("truncated", "ends\nearly"), DamageError("unreadable", "broken")):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), copy.reason, copy.message) == (type(error), error.reason, error.message)
    assert str(ClipError("truncated", "ends\n early")) == "truncated: ends early"


def test_an_unlisted_reason_is_refused():
    with pytest.raises(ValueError, match="reason is 'odd', allowed are missing, empty"):
        ClipError("odd", "x")
    assert all(meaning and "\n" not in meaning for meaning in REASONS.values())


def test_files_that_are_not_there_or_hold_nothing(tmp_path):
    empty = tmp_path / "empty.mp4"
    empty.touch()
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    text = tmp_path / "text.mp4"
    text.write_text("not a video\n" * 100)
    for path, reason, message in (
        (tmp_path / "gone.mp4", "missing", "no such file: .*gone.mp4"),
        (empty / "below.mp4", "missing", "no such file: .*below.mp4"),
        (empty, "empty", "the file has no bytes: .*empty.mp4"),
        (pipe, "unreadable", "not a regular file: .*pipe.mp4"),
        (tmp_path, "unreadable", "not a regular file"),
        (text, "unreadable", "cannot be opened: .*text.mp4"),
    ):
        with pytest.raises(ClipError, match=message) as caught:
            probe(path)
        assert caught.value.reason == reason


def test_a_file_cut_in_the_middle(clip, tmp_path):
    """Without the index at its end nothing can be read; else the cut shows in the coverage."""
    for name, reason, message in (
        ("h264.mp4", "unreadable", "cannot be opened"),
        ("faststart.mp4", "truncated", r"picture ends at \d\.\d\d s, the container claims 2\.00 s"),
        ("opengop.mkv", "truncated", "picture ends at"),
        ("vp9-2997.webm", "truncated", "picture ends at"),
    ):
        data = clip(name).read_bytes()
        cut = tmp_path / name
        cut.write_bytes(data[: len(data) // 2])
        with pytest.raises(ClipError, match=message) as caught:
            read_frames(cut, lambda times: evenly(times, 3))
        assert caught.value.reason == reason, name


def test_pictures_that_end_before_the_container_are_truncated(clip):
    for decoder in ("pyav", "ffmpeg", "decord"):
        with pytest.raises(
            ClipError, match=r"picture ends at 1\.00 s, the container claims 2\.00 s"
        ) as caught:
            read_frames(clip("picture-short.mp4"), lambda times: evenly(times, 3), decoder=decoder)
        assert caught.value.reason == "truncated"
