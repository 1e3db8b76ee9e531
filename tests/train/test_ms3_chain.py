"""AVSBench-MS3 from raw videos to a report, through every command."""

import json

import pytest

from ..conftest import SMALL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SETTINGS = [
    part
    for setting in (*SMALL["avs"], "data.workers=0", "optim.epochs=1", "optim.warmup_epochs=0")
    for part in ("--set", setting)
]


def test_every_command_takes_the_collection(stgcma, raw_collection, avs_shards, tmp_path):
    def run(*arguments):
        result = stgcma(*arguments)
        assert result.status == 0, result.stderr
        return result

    raw, work = raw_collection("avs-ms3"), tmp_path / "work"
    run(
        "train",
        avs_shards,
        "--preset",
        "avs-demo",
        "--run",
        tmp_path / "s4",
        *SETTINGS,
        "--set",
        "model.patch=14",
    )
    options = ("--preset", "avs-ms3-demo", *SETTINGS, "--set", "loss.audio_visual=0.5")
    done = run("run", "avs-ms3", raw, work, *options, "--init-from", tmp_path / "s4")
    assert "10 clips written, 0 quarantined" in done.stdout
    assert json.loads((work / "run" / "run.json").read_text())["init_from"]["path"] == str(tmp_path / "s4")
    assert json.loads(run("shards", "verify", work / "shards", "--json").stdout)["faults"] == []
    scores = json.loads(run("evaluate", work / "run", "--json").stdout)
    assert scores["frames"] == 10  # five of each of the two clips
    assert {one["clips_per_batch"]: one["batches"] for one in scores["batchwise"]} == {4: 1, 1: 2}
    assert scores["metrics"]["f_score_batch_4"] == pytest.approx(scores["f_score"])
    assert 0 < scores["bounds"]["one object a frame"] <= 1
    page = run("report", work / "run").stdout.strip()
    assert "F-score by batches of 4" in (work / "run" / "report.html").read_text()
    assert page.endswith("report.html")
    run("inspect", work / "shards", "--page", tmp_path / "inspect.html")
    video = min((raw / "raw_videos").iterdir())
    run("predict", work / "run", video, "--out", tmp_path / "predicted")
    assert any((tmp_path / "predicted").rglob("*.json"))


def test_the_demo_is_above_answers_that_do_not_look(stgcma, tmp_path):
    done = stgcma("demo", "--task", "avs-ms3", "--workdir", tmp_path)
    assert done.status == 0, done.stderr
    scores = json.loads((tmp_path / "run-avs-ms3-av" / "evaluation-test.json").read_text())
    assert scores["selected_on"] == "val"
    assert scores["score"] >= max(scores["baselines"].values()) + 0.15
