"""The command that `stgcma demo` suggests at its end."""

import shlex

import pytest
from stgcma.chain import DemoResult
from stgcma.commands.chain import _predict_arguments
from stgcma.preprocess import DEMOS


@pytest.mark.parametrize("name", list(DEMOS))
@pytest.mark.parametrize(
    ("files", "clip"),
    [
        (("videos/b.mp4", "videos/a.mkv", "masks/a.png"), "videos/a.mkv"),
        (("v1s/a/frames/0.jpg", "v1s/a/audio.wav"), "VIDEO"),
    ],
    ids=["videos", "pictures"],
)
def test_a_demo_ends_with_a_command_line_of_predict(tmp_path, name, files, clip):
    raw = tmp_path / "my demo"
    for file in files:
        (raw / file).parent.mkdir(parents=True, exist_ok=True)
        (raw / file).touch()
    question = DEMOS[name].question
    found = shlex.split(
        _predict_arguments(DemoResult(raw, [], tmp_path / "my run" / "report.html", question))
    )
    assert found[:2] == ["predict", str(tmp_path / "my run")]
    assert found[2] == ("VIDEO" if clip == "VIDEO" else str(raw / clip))
    assert found[3:] == (["--question", question] if question else [])
