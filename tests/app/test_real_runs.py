"""The page with small trained runs of every task, and real videos."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import urllib.request
import zipfile

import pytest
from stgcma.app.limits import AppLimits
from stgcma.app.served_run import open_runs
from stgcma.app.web import application
from stgcma.predict import PREDICTORS
from stgcma.preprocess import Options, preprocess

from ..predict.conftest import H264, encoded, picture, run_of, tone

__all__ = ["encoded", "run_of"]  # fixtures
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
KINDS = {".png": "picture", ".mp4": "video", ".vtt": "subtitles"}


@pytest.fixture(scope="session")
def avvp_shards(raw_collection, made_once):
    """The shards of the synthetic LLP."""
    raw, options = raw_collection("llp"), Options(features=("clip",))
    return made_once("avvp", lambda folder: preprocess("llp", raw, folder / "out", options)) / "out"


@pytest.fixture(scope="module")
def client(run_of):
    """The page of a run of every task."""
    from starlette.testclient import TestClient

    runs = open_runs([run_of(task) for task in PREDICTORS], device="cpu")
    app = application(runs, limits=AppLimits(longest_seconds=20))
    with TestClient(app, base_url="http://127.0.0.1:7860") as opened:
        yield opened


def predicted(client, finished, video, *, name=None, question="is there a violin"):
    """The outcome of every task."""
    query = {"run": list(range(len(PREDICTORS.names))), "name": name or video.name, "question": question}
    job = client.post("/api/jobs", params=query, content=video.read_bytes())
    assert job.status_code == 201, job.text
    return dict(zip(PREDICTORS.names, finished(client, job.json(), 300)["outcomes"], strict=True))


def test_every_task_shows_its_files_and_sends_all(client, finished, encoded):
    video = encoded("clip.mp4", *picture(seconds=5), *tone(seconds=5), *H264, "-c:a", "aac")
    for task, outcome in predicted(client, finished, video).items():
        assert outcome["task"] == task
        assert outcome["headline"]
        assert outcome["rows"]
        assert outcome["warnings"] == []
        shown = PREDICTORS[task].shown
        assert [file["title"] for file in outcome["files"]] == [one.title for one in shown]
        archive = zipfile.ZipFile(io.BytesIO(client.get(f"/{outcome['archive']}").content))
        for file, one in zip(outcome["files"], shown, strict=True):
            ending = one.ending[one.ending.rindex(".") :]
            assert file["kind"] == KINDS[ending]
            assert client.get(f"/{file['url']}").content == archive.read(f"clip/clip{one.ending}")
        assert b"stgcma-serve" not in archive.read("clip/clip.json")  # no path of this machine
        assert b'"video": "clip.mp4"' in archive.read("clip/clip.json")


def test_a_silent_video_is_predicted_with_a_warning(client, finished, encoded):
    video = encoded("silent.mp4", *picture(seconds=5), *H264)
    for outcome in predicted(client, finished, video).values():
        assert outcome["warnings"] == ["no audio stream: silence was put in its place"]


def test_broken_and_long_videos_are_explained(client, finished, encoded, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video")
    for outcome in predicted(client, finished, broken, name="../<b>.mp4").values():
        assert outcome["failure"].startswith("it is not readable as a video (")
    long = encoded("long.mkv", *picture(seconds=21, rate="2"), *H264)
    for outcome in predicted(client, finished, long).values():
        assert outcome["failure"] == "it lasts 0:21, longer than the 0:20 allowed"


def test_unknown_words_of_a_question_are_told_before_an_upload(client):
    number = PREDICTORS.names.index("avqa")
    answer = client.post("/api/jobs", params={"run": number, "question": "xyzzy?"}, content=b"video")
    assert answer.status_code == 400
    assert "holds no word that the model knows" in answer.json()["detail"]


def test_ctrl_c_ends_the_server_cleanly(run_of, tmp_path):
    command = [sys.executable, "-m", "stgcma", "serve", run_of("ave"), "--port", "0", "--device", "cpu"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as server:
        address = server.stdout.readline().decode().strip()
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert b"Predict a video" in answer.read()
        assert list(tmp_path.glob("stgcma-serve-*"))
        server.send_signal(signal.SIGINT)
        assert server.wait(120) == 0
        assert server.stderr.read().decode().splitlines()[-1] == "stopped; uploads and results are deleted"
    assert not list(tmp_path.glob("stgcma-serve-*"))
