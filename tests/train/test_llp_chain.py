"""The chain of LLP from encoded videos to a prediction, with the smallest of models."""

import json

import numpy as np
import pytest
from stgcma.shards.manifest import read_manifest
from stgcma.shards.reader import ClipReader, clip_places


@pytest.mark.slow
def test_llp_from_raw_videos_to_a_prediction(stgcma, small_config, ffmpeg, tmp_path):
    """`run` and what it leaves; a clip of 6.8 s at 6 frames a second, as real ones; the same bytes twice."""
    raw, again, work = tmp_path / "raw", tmp_path / "again", tmp_path / "work"
    for folder, workers in ((raw, 1), (again, 2)):
        made = stgcma("synthesize", "llp", folder, "--clips", 10, "--seed", 3, "--workers", workers)
        assert made.status == 0, made.stderr
    files = sorted(path.relative_to(raw) for path in raw.rglob("*.*"))
    assert all((raw / path).read_bytes() == (again / path).read_bytes() for path in files)
    short = sorted((raw / "video").iterdir())[0]
    whole = short.rename(tmp_path / "whole.mp4")
    ffmpeg("-i", whole, "-t", "6.8", "-r", "6", short)
    preset = small_config("avvp").model
    settings = [
        f"model.{name}={value}" for name, value in preset.items() if name in ("width", "depths", "heads")
    ]
    settings += ["data.workers=0", "optim.epochs=1", "optim.warmup_epochs=0"]
    options = [part for setting in settings for part in ("--set", setting)]
    done = stgcma("run", "llp", raw, work, "--preset", "avvp-demo", "--workers", 1, *options)
    assert done.status == 0, done.stderr
    assert (work / "run" / "report.html").is_file()
    assert stgcma("shards", "verify", work / "shards").status == 0
    records = read_manifest(work / "shards")
    (warned,) = [record for record in records if record.warnings]
    assert warned.source.endswith(short.name)
    assert "shorter than the usual 10 s" in warned.warnings[0]
    reader = ClipReader(work / "shards")
    (place,) = [place for place in clip_places(records) if place.key == warned.key]
    members = reader.read(place)
    reader.close()
    assert members["frame_07.jpg"] == members["frame_09.jpg"]  # the last frame there is
    assert stgcma("inspect", work / "shards").status == 0
    result = stgcma("predict", work / "run", whole, "--out", tmp_path / "out")
    assert result.status == 0, result.stderr
    said = json.loads((tmp_path / "out" / "whole.json").read_text())
    assert len(said["seconds"]) == 10
    assert np.isfinite([one["confidence"] for one in said["events"]]).all()


@pytest.mark.slow
def test_the_demo_is_above_answers_that_do_not_look_or_listen_and_answers_of_one_modality(stgcma, tmp_path):
    done = stgcma("demo", "--task", "avvp", "--workdir", tmp_path)
    assert done.status == 0, done.stderr
    scores = json.loads((tmp_path / "run-avvp-av" / "evaluation-test.json").read_text())
    assert scores["selected_on"] == "val"
    baselines = scores["baselines"]
    assert scores["score"] >= baselines["best constant answer"] + 0.2
    copied = [score for name, score in baselines.items() if "copied" in name]
    assert len(copied) == 2
    assert scores["score"] > max(copied)
