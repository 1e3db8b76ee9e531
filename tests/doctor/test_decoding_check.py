"""A decoder that is wrong, dies or hangs is told, with its remedy; the others are still looked at."""

import dataclasses
import functools
import re
import shutil

import pytest
from stgcma.doctor import clips, decoding
from stgcma.doctor.clips import CLIPS
from stgcma.doctor.decoding import check_decoding
from stgcma.doctor.findings import Level
from stgcma.doctor.make_clips import make
from stgcma.preprocess.media.isolation import IsolatedPool

H264, BFRAMES, HEVC, VP9, AV1, MPEG4 = CLIPS


def in_folder(clip, folder):
    return dataclasses.replace(clip, folder=folder)


def test_a_clip_that_is_cut_is_a_problem(tmp_path):
    content = H264.path.read_bytes()
    (tmp_path / H264.name).write_bytes(content[: len(content) // 2])
    (finding,) = check_decoding([in_folder(H264, tmp_path)], decoders=("pyav",))
    assert finding.level is Level.PROBLEM
    assert "pyav fails (cannot be opened: h264.mp4" in finding.text
    assert finding.remedy.startswith("pip install --force-reinstall --no-deps av==")


def test_other_pictures_than_expected_are_noticed(tmp_path, monkeypatch):
    # The same, but pictures are one step brighter: as if each had been taken for the next.
    clip = in_folder(H264, tmp_path)
    with monkeypatch.context() as change:
        change.setattr(clips, "LEFT_LUMA_FIRST", clips.LEFT_LUMA_FIRST + clips.LEFT_LUMA_STEP)
        make(clip)
    (finding,) = check_decoding([clip], decoders=("pyav", "ffmpeg", "decord"))
    assert finding.level is Level.PROBLEM
    for decoder in ("pyav", "ffmpeg", "decord"):
        assert f"{decoder} is wrong: picture 0 has the mean colour" in finding.text
    assert "avoid --decoder decord" in finding.remedy


def test_swapped_chroma_is_noticed(tmp_path, monkeypatch):
    clip = in_folder(VP9, tmp_path)
    with monkeypatch.context() as change:
        change.setattr(clips, "STRIPES_CHROMA", clips.STRIPES_CHROMA[::-1])
        make(clip)
    (finding,) = check_decoding([clip], decoders=("ffmpeg",))
    assert (finding.level, "ffmpeg is wrong: picture 0" in finding.text) == (Level.WARNING, True)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"TONE_HZ": 440.0}, r"its tone has 4[34]\d Hz instead of 1000 Hz"),
        ({"TONE_AMPLITUDE": 0.25}, r"its tone is 0\.[45]\d times as loud as it should be"),
    ],
)
def test_another_sound_is_noticed(tmp_path, monkeypatch, change, wrong):
    clip = in_folder(MPEG4, tmp_path)
    with monkeypatch.context() as context:
        for name, value in change.items():
            context.setattr(clips, name, value)
        make(clip)
    (finding,) = check_decoding([clip], decoders=("sound",))
    assert finding.level is Level.PROBLEM
    assert re.search(wrong, finding.text)
    assert "torchaudio==" in finding.remedy


def test_missing_pictures_are_noticed(tmp_path, monkeypatch):
    clip = in_folder(H264, tmp_path)
    with monkeypatch.context() as change:
        change.setattr(clips, "SECONDS", clips.SECONDS * 5 / 6)
        make(clip)
    (finding,) = check_decoding([clip], decoders=("pyav",))
    assert "10 pictures were decoded, the file holds 12" in finding.text


def test_a_decoder_that_aborts_does_not_end_the_others(failing):
    first, second = check_decoding(
        [BFRAMES, AV1], decode=failing.abort_with_pyav, decoders=("pyav", "ffmpeg", "decord")
    )
    for finding in (first, second):
        assert finding.level is Level.PROBLEM
        assert "pyav fails (its process was ended by SIGABRT" in finding.text
    assert "right with ffmpeg, decord" in first.text
    assert "right with ffmpeg; decord does not accept such files" in second.text


def test_a_decoder_that_hangs_is_given_up(failing, monkeypatch):
    modules = (failing.__name__, "av", "numpy", "stgcma.preprocess.media.video.pyav")
    loaded = functools.partial(IsolatedPool, imports=modules)  # before the time is counted
    monkeypatch.setattr(decoding, "IsolatedPool", loaded)
    (finding,) = check_decoding(
        [VP9], decode=failing.hang_with_decord, decoders=("decord", "pyav"), timeout_seconds=5
    )
    assert finding.level is Level.WARNING  # nothing needs decord
    assert "decord fails (not done after 5 s)" in finding.text
    assert "right with pyav" in finding.text
    assert finding.remedy.startswith("pip install --force-reinstall --no-deps decord==0.6.0")


def test_the_package_of_a_decoder_that_is_no_dependency_is_named():
    assert decoding._remedy("mine") == "pip install --force-reinstall --no-deps mine; avoid --decoder mine"


def test_files_that_cannot_be_had_are_named(tmp_path):
    shutil.copy(HEVC.path, tmp_path / "other.mp4")
    (finding,) = check_decoding([in_folder(HEVC, tmp_path)], decoders=("ffmpeg", "pyav"))
    assert "no such file: hevc.mp4" in finding.text
