"""AVSBench-semantic from raw files to pages: clips of both lengths in one training, streamed and resumed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from ..conftest import SMALL


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("avss")


@pytest.mark.slow
def test_every_command_takes_clips_of_both_lengths(stgcma, ffmpeg, work):
    def run(*arguments):
        result = stgcma(*arguments)
        assert result.status == 0, result.stderr
        return result.stdout

    raw, shards, folder = work / "raw", work / "shards", work / "run"
    run("synthesize", "avss", raw, "--clips", "10", "--seed", "1")
    run("preprocess", "avss", raw, shards, "--features", "swin", "--workers", "1")
    run("shards", "verify", shards)
    chosen = (*SMALL["avss"], "data.workers=0", "optim.epochs=1", "optim.warmup_epochs=0")
    settings = [part for setting in chosen for part in ("--set", setting)]
    run("train", shards, "--preset", "avss-demo", "--run", folder, *settings)
    run("train", shards, "--preset", "avss-demo", "--run", work / "term", *settings,
        "--set", "loss.audio_visual=0.5", "--set", "data.read=streamed")  # fmt: skip
    scores = json.loads(run("evaluate", folder, "--json"))
    assert scores["padded_frames"] > 0
    assert scores["frames"] + scores["padded_frames"] == 10 * scores["clips"]
    run("report", folder)
    run("inspect", shards)

    clip = next(path for path in sorted((raw / "v2").iterdir()))
    pictures = ("-framerate", "1", "-i", clip / "frames" / "%d.jpg", "-i", clip / "audio.wav")
    short = work / "short.mp4"
    ffmpeg(*pictures, "-t", "4", "-r", "8", "-pix_fmt", "yuv420p", "-c:a", "aac", short)
    run("predict", folder, short, "--out", work / "out")
    found = json.loads((work / "out" / "short.json").read_text())
    assert len(found["seconds"]) == 4
    for second in found["seconds"]:
        with Image.open(work / "out" / second["mask"]) as mask:
            classes = {found["classes"][index] for index in np.unique(np.asarray(mask)) if index}
        assert classes == {one["name"] for one in second["classes"]}
