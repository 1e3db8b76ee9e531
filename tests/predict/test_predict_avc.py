"""Prediction with a run of AVC: labels of a video and its parts, subtitles, picture, table of all videos."""

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from stgcma.predict.avc import AvcPredictor
from stgcma.predict.avc_labels import labels_table
from stgcma.predict.predictor import VideoInput
from stgcma.predict.sources import relative_names
from stgcma.preprocess.collections import labels
from stgcma.preprocess.collections.ave import SAMPLING
from stgcma.preprocess.collections.windows import plan_windows
from stgcma.train.tasks.avc import AvcTask

CLASSES = ("bell", "dog, barking", "rain")


@pytest.fixture(scope="module")
def frames():
    """The frames of a window."""
    buffer = io.BytesIO()
    Image.new("RGB", (224, 224), (90, 20, 160)).save(buffer, "JPEG")
    return {f"frame_{number:02d}.jpg": buffer.getvalue() for number in range(SAMPLING.frames)}


class FakeRun:
    """A run whose model gives each window the next of some logits."""

    def __init__(self, logits, *, several):
        features = {"labels_per_clip": "several" if several else "one"}
        self.task = AvcTask(SimpleNamespace(classes=CLASSES, features=features))
        self.settings = SimpleNamespace(sampling=SAMPLING)
        self.config, self.path = SimpleNamespace(preset="avc-demo"), Path("run")
        self._logits = iter(logits)

    def __call__(self, _members):
        return {"logits": torch.tensor([next(self._logits)])}

    def sound(self, _decoded, _span):
        return np.zeros((10, 128), np.float16)


def predicted(frames, logits, *, seconds, several=False, folder=None):
    """The result for a video of windows of 4 s with these logits."""
    windows = plan_windows(seconds, 4, SAMPLING)
    assert len(windows) == len(logits)
    decoded = SimpleNamespace(seconds=seconds, windows=windows, warnings=(), has_audio=True)
    video = VideoInput(Path("holiday.mp4"), None, decoded, "holiday", folder)
    predictor = AvcPredictor(FakeRun(logits, several=several), video)
    for _ in windows:
        predictor.add(frames)
    return predictor.finish()


def softmax(logits):
    powers = np.exp(np.array(logits, dtype=np.float64))
    return powers / powers.sum()


def test_one_window_gives_a_video_its_classes(frames):
    result = predicted(frames, [[0.0, 3.0, 1.0]], seconds=4.0)
    shares = softmax([0.0, 3.0, 1.0])
    assert result.top == tuple(
        (CLASSES[index], pytest.approx(shares[index], abs=1e-6)) for index in (1, 2, 0)
    )
    assert [name for name, _ in result.labels] == ["dog, barking"]
    (part,) = result.parts
    assert (part.start, part.end, part.labels[0][0]) == (0.0, 4.0, "dog, barking")
    assert len(result.seconds) == 4


def test_windows_are_merged_and_parts_begin_where_labels_change(frames):
    # Windows 0 to 4, 4 to 8 and 5 to 9: seconds 5 to 8 are covered by the last two.
    logits = [[4.0, 0, 0], [0, 4.0, 0], [0, 0, 5.0]]
    result = predicted(frames, logits, seconds=9.0)
    one, two, three = map(softmax, logits)
    by_second = [one] * 4 + [two] + [(two + three) / 2] * 3 + [three]
    for second, shares in zip(result.seconds, by_second, strict=True):
        expected = {name: pytest.approx(share, abs=1e-6) for name, share in zip(CLASSES, shares, strict=True)}
        assert dict(second.top) == expected
    assert [(part.start, part.end, part.labels[0][0]) for part in result.parts] == [
        (0.0, 4.0, "bell"),
        (4.0, 5.0, "dog, barking"),
        (5.0, 9.0, "rain"),
    ]
    assert result.parts[2].labels[0][1] == pytest.approx(np.mean([s[2] for s in by_second[5:]]), abs=1e-6)
    whole = dict(result.top)
    for index, name in enumerate(CLASSES):
        assert whole[name] == pytest.approx(np.mean([shares[index] for shares in by_second]), abs=1e-6)
    assert result.rows()[1] == ("0:04", "0:05", f"dog, barking ({round(100 * two[1])} %)")


def test_several_labels_are_those_that_are_likely_at_any_time(frames, tmp_path):
    result = predicted(frames, [[4.0, -4, 4.0], [-4.0, -4, -4]], seconds=8.0, several=True, folder=tmp_path)
    assert [name for name, _ in result.labels] == ["bell", "rain"]
    assert result.labels[0][1] == pytest.approx(1 / (1 + np.exp(-4)), abs=1e-6)
    assert [[name for name, _ in part.labels] for part in result.parts] == [["bell", "rain"], []]
    assert result.rows()[1] == ("0:04", "0:08", "no label")
    vtt = (tmp_path / "holiday.vtt").read_text()
    assert vtt == "WEBVTT\n\n00:00:00.000 --> 00:00:04.000\nbell (98 %), rain (98 %)\n"
    with Image.open(tmp_path / "holiday.labels.png") as picture:
        assert picture.width > 700
        picture.verify()


def test_all_classes_of_a_part_are_among_its_likeliest(frames, monkeypatch):
    monkeypatch.setattr("stgcma.predict.avc._TOP", 1)
    result = predicted(frames, [[4.0, 5.0, 4.0]], seconds=4.0, several=True)
    assert [name for name, _ in result.parts[0].labels] == ["dog, barking", "bell", "rain"]
    assert len(result.top) == 3


@pytest.mark.parametrize(
    ("predictions", "several"),
    [
        ([["bell"], ["dog, barking"]], False),
        ([["bell", "dog, barking"], ["rain"]], True),
        ([["dog, barking"], []], True),
    ],
)
def test_the_table_of_all_videos_is_read_as_labels(predictions, several, tmp_path):
    ranked = [tuple((name, 0.75) for name in names) for names in predictions]
    table = labels_table(["a.mp4", "x/b.mp4"], ranked, several=several)
    (tmp_path / "labels.csv").write_text(table)
    (tmp_path / "x").mkdir()
    for name in ("a.mp4", "x/b.mp4"):
        (tmp_path / name).touch()
    read = {clip.source: clip.fields for clip in labels.read(tmp_path).clips}
    names = [fields["categories"] if several else [fields["category"]] for fields in read.values()]
    assert names == predictions
    row = next(csv.DictReader(io.StringIO(table)))
    assert row["confidence"] == ("0.750" if predictions[0] else "")


def test_videos_are_named_from_the_folder_that_was_given(tmp_path):
    raw = tmp_path / "raw"
    (raw / "deeper").mkdir(parents=True)
    videos = [raw / "deeper" / "a.mp4", raw / "deeper" / "b.mp4"]
    assert relative_names([raw], videos) == ["deeper/a.mp4", "deeper/b.mp4"]
    assert relative_names(videos, videos) == ["a.mp4", "b.mp4"]
    more = [raw / "c.mp4", *videos]
    assert relative_names([raw, tmp_path], more) == ["c.mp4", "deeper/a.mp4", "deeper/b.mp4"]
    assert relative_names([raw], []) == []


def test_a_folder_of_videos_gets_a_table_beside_the_files_of_each(stgcma, run_of, long_video, tmp_path):
    out = tmp_path / "out"
    result = stgcma("predict", run_of("avc"), long_video.parent, "--out", out)
    assert result.status == 0, result.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        "long.json",
        "long.labels.png",
        "long.vtt",
        "predicted-labels.csv",
    ]
    said = json.loads((out / "long.json").read_text())
    assert [second["start"] for second in said["seconds"]] == list(range(23))
    assert said["parts"][0]["start"] == 0
    assert said["parts"][-1]["end"] == pytest.approx(23.4)
    assert len(said["top"]) == 3
    (row,) = csv.DictReader(io.StringIO((out / "predicted-labels.csv").read_text()))
    assert (row["file"], row["label"]) == ("long.mp4", said["labels"][0]["class"])
    assert (out / "long.vtt").read_text().count("-->") == len(said["parts"])
    assert result.stdout.splitlines()[-1] == str(out / "predicted-labels.csv")
