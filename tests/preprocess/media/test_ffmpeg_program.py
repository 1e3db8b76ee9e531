"""The ffmpeg program that is run does not depend on PATH."""

import re
import subprocess
import sys

import imageio_ffmpeg
import pytest
from stgcma.errors import InputError
from stgcma.preprocess.media import ffmpeg_program
from stgcma.preprocess.media.ffmpeg_program import ffmpeg_executable, ffmpeg_version
from stgcma.preprocess.media.video import decoder_versions


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    """No ffmpeg is named, whatever the developer has set."""
    monkeypatch.delenv(ffmpeg_program.VARIABLE, raising=False)


def name(monkeypatch, program):
    monkeypatch.setenv(ffmpeg_program.VARIABLE, str(program))


@pytest.mark.parametrize("variable", ["PATH", "IMAGEIO_FFMPEG_EXE"])
def test_the_bundled_one_is_run_whatever_is_on_path(tmp_path, monkeypatch, fake_ffmpeg, variable):
    other = fake_ffmpeg(tmp_path / "ffmpeg")
    monkeypatch.setenv(variable, str(other.parent if variable == "PATH" else other))
    assert ffmpeg_executable().startswith(imageio_ffmpeg.__path__[0])
    assert decoder_versions()["ffmpeg"] == ffmpeg_version() != "9.0"


def test_the_bundled_one_is_new_enough():
    assert ffmpeg_program._versions(ffmpeg_executable())[1] >= ffmpeg_program.MINIMUM_LIBAVCODEC


def test_a_variable_set_to_nothing_names_nothing(monkeypatch):
    bundled = ffmpeg_executable()
    name(monkeypatch, "")
    assert ffmpeg_executable() == bundled


@pytest.mark.parametrize(
    ("release", "libavcodec"),
    [("7.0", "61.  3.100"), ("N-119000-g1a2b3c4", "62. 11.100"), ("n10.2", "65. 0.100")],
)
def test_one_that_is_named_is_taken_from_a_path_or_from_path(
    tmp_path, monkeypatch, fake_ffmpeg, release, libavcodec
):
    program = fake_ffmpeg(tmp_path / "bin/my-ffmpeg", release=release, libavcodec=libavcodec)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    for named in (program, "my-ffmpeg", "bin/my-ffmpeg"):
        name(monkeypatch, named)
        assert (ffmpeg_executable(), ffmpeg_version()) == (str(program), release)


@pytest.mark.parametrize(
    ("release", "libavcodec"),
    [("6.1.1", "60. 31.102"), ("N-113000-g1a2b3c4", "61.  1.100"), ("99", "9. 9.100")],
)
def test_one_that_is_too_old_is_refused(tmp_path, monkeypatch, fake_ffmpeg, release, libavcodec):
    program = fake_ffmpeg(tmp_path / "ffmpeg", release=release, libavcodec=libavcodec)
    name(monkeypatch, program)
    said = f"STGCMA_FFMPEG: {program} is version {release}, FFmpeg 7.0 or later is needed; unset it"
    with pytest.raises(InputError, match=re.escape(said)):
        ffmpeg_executable()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "#!/bin/sh\necho libx.so: not found >&2\nexit 127\n",
            "does not run (status 127: libx.so: not found)",
        ),
        ("#!/nowhere/sh\n", "does not run ([Errno 2] No such file"),
        ("#!/bin/sh\necho hello\n", "is no ffmpeg: it does not tell its version"),
    ],
)
def test_one_that_does_not_run_is_refused(tmp_path, monkeypatch, script, said):
    program = tmp_path / "ffmpeg"
    program.write_text(script)
    program.chmod(0o755)
    name(monkeypatch, program)
    with pytest.raises(InputError, match=re.escape(f"STGCMA_FFMPEG: {program} {said}")) as caught:
        ffmpeg_executable()
    assert "\n" not in str(caught.value)


def test_one_that_is_not_there_is_refused(tmp_path, monkeypatch):
    name(monkeypatch, tmp_path / "none")
    with pytest.raises(InputError, match=r"STGCMA_FFMPEG is '.*/none': no such program; unset it"):
        ffmpeg_executable()


def test_the_commands_refuse_it_before_any_work(stgcma, tmp_path, monkeypatch):
    name(monkeypatch, tmp_path / "none")
    (tmp_path / "raw" / "Cat").mkdir(parents=True)
    (tmp_path / "raw" / "Cat" / "a.mp4").write_bytes(b"no video")
    for command in (
        ("preprocess", "folder", tmp_path / "raw", tmp_path / "out"),
        ("predict", tmp_path / "run", tmp_path / "raw" / "Cat" / "a.mp4"),
        ("synthesize", "ave", tmp_path / "synthetic", "--clips", 10),
    ):
        result = stgcma(*command)
        assert result.status == 2, result.stderr
        assert "STGCMA_FFMPEG is" in result.stderr
    assert not (tmp_path / "out" / "shards").exists()


def test_its_path_can_be_asked_for():
    done = subprocess.run(
        [sys.executable, "-m", "stgcma.preprocess.media.ffmpeg_program"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{ffmpeg_executable()}\n"
