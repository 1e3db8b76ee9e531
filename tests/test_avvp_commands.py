"""AVVP through the commands: train, evaluate, report, inspect and predict, on shards of noise."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from stgcma.predict.avvp_picture import Bar, lanes_of
from stgcma.predict.avvp_result import ParsedEvent, ParsedSecond, find_events, subtitles
from stgcma.train.evaluation import evaluate
from stgcma.train.run import train


@pytest.fixture(scope="module")
def shards(avvp_shards):
    return avvp_shards


@pytest.fixture(scope="module")
def run(shards, small_config, tmp_path_factory):
    """A run of one epoch, scored on test."""
    folder = tmp_path_factory.mktemp("avvp") / "run"
    train(shards, folder, small_config("avvp", "optim.epochs=1", "optim.batch_size=2"))
    evaluate(folder)
    return folder


def test_evaluate_gives_the_official_scores_and_those_beside(stgcma, run):
    result = stgcma("evaluate", run, "--json")
    assert result.status == 0, result.stderr
    content = json.loads(result.stdout)
    assert content["score_name"] == "segment_type_av"
    assert set(content["segment"]) == set(content["event"]) == {"a", "v", "av", "type_av", "event_av"}
    assert content["score"] == content["segment"]["type_av"] == content["metrics"]["segment_type_av"]
    assert list(content["baselines"]) == [
        "nothing",
        "best constant answer, chosen on val",
    ]
    assert list(content["bounds"]) == [
        "true tags in every second",
        "true audible events, copied to visible",
        "true visible events, copied to audible",
    ]
    # A 1 against nothing visible: V 0, and the second clip's A with V the other way round.
    assert content["bounds"]["true audible events, copied to visible"] == pytest.approx((1 + 0 + 0) / 3)
    assert content["scored_clips"] == 2
    table = stgcma("evaluate", run).stdout
    assert "Event@AV by event" in table
    assert "Baby_laughter" in table


def test_the_losses_of_tags_and_of_seconds_are_both_trained(run):
    steps = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    assert len(steps) == 2
    assert all(np.isfinite(step["loss"]) and step["loss"] > 0 for step in steps)


class Texts(HTMLParser):
    """All texts of a page."""

    def __init__(self, page):
        super().__init__()
        self.texts = []
        self.feed(page)

    def handle_data(self, data):
        self.texts.append(data.strip())


def test_the_report_has_a_row_for_what_is_heard_and_one_for_what_is_seen(stgcma, run):
    assert stgcma("report", run).status == 0
    texts = Texts((run / "report.html").read_text("utf-8")).texts
    for heading in ("heard, true", "heard, predicted", "seen, true", "seen, predicted"):
        assert heading in texts
    assert "Type@AV by segment" in texts
    assert any("Audible and visible events in every second" in text for text in texts)


def test_inspect_shows_events_and_for_training_clips_tags(stgcma, shards, tmp_path):
    assert stgcma("inspect", shards, "--page", tmp_path / "page.html").status == 0
    texts = Texts((tmp_path / "page.html").read_text("utf-8")).texts
    assert "classes of the clip" in texts
    assert "Speech + Dog" in texts
    assert {"Speech", "Dog"} <= set(texts)


def test_verify_accepts_clips_with_and_without_events(stgcma, shards):
    assert stgcma("shards", "verify", shards).status == 0


def test_predict_tells_every_second_of_a_video_by_modality(stgcma, run, ffmpeg, tmp_path):
    video = tmp_path / "long.mp4"
    source = "testsrc2=s=64x48:r=5:d=12.4"
    tone = "sine=f=440:r=16000:d=12.4"
    inputs = ("-f", "lavfi", "-i", source, "-f", "lavfi", "-i", tone)
    ffmpeg(*inputs, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", video)
    out = tmp_path / "out"
    result = stgcma("predict", run, video, "--out", out)
    assert result.status == 0, result.stderr
    suffixes = ("events.csv", "json", "labels.txt", "timeline.png", "vtt")
    assert sorted(path.name for path in out.iterdir()) == [f"long.{suffix}" for suffix in suffixes]
    said = json.loads((out / "long.json").read_text())
    assert [second["start"] for second in said["seconds"]] == list(range(12))
    assert said["seconds"][-1]["end"] == pytest.approx(12.4, abs=0.05)
    assert all(set(second) == {"start", "end", "audible", "visible"} for second in said["seconds"])
    marked = {
        (event["modality"], event["class"], second)
        for event in said["events"]
        for second in range(int(event["start"]), min(int(event["end"] + 0.5), 12))
    }
    assert marked == {
        (modality, one["class"], index)
        for index, second in enumerate(said["seconds"])
        for modality in ("audible", "visible")
        for one in second[modality]
    }
    with Image.open(out / "long.timeline.png") as image:
        image.verify()


SECONDS = [
    ParsedSecond(0.0, 1.0, (("Dog", 0.9),), ()),
    ParsedSecond(1.0, 2.0, (("Dog", 0.7), ("Car", 0.6)), (("Dog", 0.8),)),
    ParsedSecond(2.0, 3.0, (), (("Dog", 0.6),)),
    ParsedSecond(3.0, 3.4, (("Dog", 0.5),), (("R&B <live>", 0.9),)),
]


def test_successive_seconds_of_a_class_and_modality_are_an_event():
    assert find_events(SECONDS) == [
        ParsedEvent(0.0, 2.0, "Dog", "audible", pytest.approx(0.8)),
        ParsedEvent(1.0, 2.0, "Car", "audible", 0.6),
        ParsedEvent(1.0, 3.0, "Dog", "visible", pytest.approx(0.7)),
        ParsedEvent(3.0, 3.4, "Dog", "audible", 0.5),
        ParsedEvent(3.0, 3.4, "R&B <live>", "visible", 0.9),
    ]


def test_subtitles_have_a_line_for_each_modality_and_do_not_overlap():
    assert subtitles(SECONDS) == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:01.000\naudible: Dog\n\n"
        "00:00:01.000 --> 00:00:02.000\naudible: Car, Dog\nvisible: Dog\n\n"
        "00:00:02.000 --> 00:00:03.000\nvisible: Dog\n\n"
        "00:00:03.000 --> 00:00:03.400\naudible: Dog\nvisible: R&amp;B &lt;live&gt;\n"
    )
    assert subtitles([ParsedSecond(0.0, 1.0, (), ())]) == "WEBVTT\n"


def test_a_picture_has_a_lane_for_each_class_of_a_modality():
    assert lanes_of(SECONDS, "audible") == [[Bar("Dog", 0, 2), Bar("Dog", 3, 4)], [Bar("Car", 1, 2)]]
    assert lanes_of(SECONDS, "visible") == [[Bar("Dog", 1, 3)], [Bar("R&B <live>", 3, 4)]]
    assert lanes_of(SECONDS[:1], "visible") == []
