"""The PATHs that `.ci/run` runs the tests with."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "ffmpeg-on-path"
BASH = shutil.which("bash")


def path_with(kind, folder, path):
    """The PATH that the script prints; raises CalledProcessError with its status and reason."""
    done = subprocess.run(
        [BASH, SCRIPT, kind, folder], env={"PATH": path}, capture_output=True, text=True, check=True
    )
    return done.stdout.removesuffix("\n")


@pytest.fixture
def places(tmp_path, fake_ffmpeg):
    """A PATH whose first folder holds an ffmpeg and another program."""
    fake_ffmpeg(tmp_path / "bin" / "ffmpeg")
    fake_ffmpeg(tmp_path / "bin" / "other")
    return f"{tmp_path / 'bin'}:{os.environ['PATH']}"


def test_without_ffmpeg_the_other_programs_are_left(tmp_path, places):
    path = path_with("none", tmp_path / "made", places)
    assert (shutil.which("ffmpeg", path=path), shutil.which("ffprobe", path=path)) == (None, None)
    for program in ("other", "bash", "python3"):
        assert Path(shutil.which(program, path=path)).samefile(shutil.which(program, path=places))


def test_one_that_does_not_run_comes_first(tmp_path, places):
    path = path_with("broken", tmp_path / "made", places)
    done = subprocess.run([shutil.which("ffmpeg", path=path), "-version"], capture_output=True, check=False)
    assert done.returncode == 127


def test_a_machine_without_apt_leaves_the_systems_out(tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for program in ("bash", "mkdir"):
        (tools / program).symlink_to(shutil.which(program))
    with pytest.raises(subprocess.CalledProcessError) as caught:
        path_with("system", tmp_path / "made", str(tools))
    assert (caught.value.returncode, caught.value.stderr) == (3, "there is no apt\n")
