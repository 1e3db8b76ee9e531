"""Clip classification from raw videos to pages and predictions, and corrected predictions to shards."""

import csv
import json
import shutil

import pytest

from ..conftest import SMALL

SETTINGS = (*SMALL["avc"], "data.workers=0", "optim.epochs=1", "optim.warmup_epochs=0")
OPTIONS = [part for setting in SETTINGS for part in ("--set", setting)]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("collection", "score"), [("vggsound", "accuracy"), ("labels", "map")])
def test_from_raw_videos_to_new_labels(stgcma, raw_collection, tmp_path, collection, score):
    def run(*arguments):
        result = stgcma(*arguments)
        assert result.status == 0, f"{arguments}\n{result.stderr}"
        return result.stdout

    raw, work = raw_collection(collection), tmp_path / "work"
    run("run", collection, raw, work, "--preset", "avc-demo", "--workers", 1, *OPTIONS)
    assert "no faults" in run("shards", "verify", work / "shards")
    stats = json.loads(run("shards", "stats", work / "shards", "--json"))
    assert (
        stats["splits"]["all"]["clips"]
        == sum(stats["splits"][s]["clips"] for s in ("train", "val", "test"))
        == 10
    )
    result = json.loads(run("evaluate", work / "run", "--json"))
    assert result["score_name"] == score
    assert result["score"] == result["metrics"][score]
    report = (work / "run" / "report.html").read_text()
    assert {"map": "mAP", "accuracy": "accuracy at 5"}[score] in report
    assert ">likeliest</th>" in report
    page = tmp_path / "inspect.html"
    run("inspect", work / "shards", "--page", page)
    assert all(name in page.read_text() for name in stats["splits"]["all"]["clips_by_tag"])

    # Three videos, predicted, corrected, and preprocessed with the corrected table.
    more = tmp_path / "more"
    for video in sorted(raw.rglob("*.mp4"))[:3]:
        target = more / video.parent.name / video.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, target)
    out = tmp_path / "predictions"
    run("predict", work / "run", more, "--out", out)
    assert len(list(out.glob("*.vtt"))) == len(list(out.glob("*.labels.png"))) == 3
    with (out / "predicted-labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    column = "labels" if collection == "labels" else "label"
    rows[0][column] = "frying food" if collection == "vggsound" else "Clock|Train horn"
    with (more / "labels.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, rows[0])
        table.writeheader()
        table.writerows(rows)
    run("preprocess", "labels", more, tmp_path / "more-shards", "--features", "clip", "--workers", 1)
    again = json.loads(run("shards", "stats", tmp_path / "more-shards", "--json"))
    assert again["splits"]["all"]["clips"] == 3
    corrected = ["frying food"] if collection == "vggsound" else ["Clock", "Train horn"]
    assert set(corrected) <= set(again["splits"]["all"]["clips_by_tag"])
