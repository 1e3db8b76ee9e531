"""`stgcma predict` with a run of AVE: classes of seconds, events, timeline, subtitles, refused requests."""

import json
import shutil
from contextlib import closing
from dataclasses import replace

import pytest
from PIL import Image
from stgcma.errors import InputError, StgcmaError
from stgcma.predict import predict
from stgcma.predict.ave_result import Event, Second, merge_events, subtitles

from .conftest import H264, picture, tone

ENDS = ("events.csv", "json", "labels.txt", "timeline.png", "vtt")
NAMES = [f"long.{end}" for end in ENDS]


def scored(run, split="test"):
    """Return the batches of a split with the outputs that `stgcma evaluate` scores."""
    from stgcma.model import load_model
    from stgcma.train.batch import make_loader
    from stgcma.train.data import ClipDataset, open_task
    from stgcma.train.distributed import pick_device
    from stgcma.train.evaluation import outputs
    from stgcma.train.order import ScoringOrder
    from stgcma.train.run_folder import RunFolder

    folder = RunFolder.open(run)
    config, shards = folder.read_config(), folder.read_json("run.json")["shards"]
    model = load_model(folder.best)
    dataset = ClipDataset(shards, split, open_task(shards), config.data, model.config)
    with closing(dataset):
        loader = make_loader(dataset, ScoringOrder(len(dataset), 2), workers=0)
        device = pick_device("cpu")
        return [
            (batch, made, dataset.task.info)
            for batch, made in outputs(model, dataset.task, loader, device, "fp32")
        ]


def test_a_clip_gets_what_evaluate_gives_it(run_of, raw_of):
    run = run_of("ave")
    expected = {}
    for batch, made, info in scored(run):
        for place, key in enumerate(batch.keys):
            expected[key] = made["logits"][place].softmax(-1), info.classes
    expected = dict(list(expected.items())[:2])
    videos = [raw_of("ave") / "AVE" / f"{key}.mp4" for key in expected]
    predictions = predict(run, videos)
    assert not predictions.failures
    for one, (shares, classes) in zip(predictions.videos, expected.values(), strict=True):
        assert one.files == ()
        assert len(one.seconds) == 10
        for second, row in zip(one.seconds, shares, strict=True):
            assert second.name == classes[int(row.argmax())]
            for name, share in second.top:
                assert share == pytest.approx(float(row[classes.index(name)]), abs=1e-6)


def test_a_long_video_is_told_second_by_second(stgcma, run_of, long_video, tmp_path):
    out = tmp_path / "out"
    result = stgcma("predict", run_of("ave"), long_video, "--out", out)
    assert result.status == 0, result.stderr
    said = json.loads((out / "long.json").read_text())
    assert said["length_seconds"] == pytest.approx(23.4)
    assert [second["start"] for second in said["seconds"]] == list(range(23))
    assert said["seconds"][-1]["end"] == pytest.approx(23.4)
    for second in said["seconds"]:
        assert second["top"][0] == {"class": second["class"], "confidence": second["confidence"]}
        assert sum(likely["confidence"] for likely in second["top"]) <= 1 + 1e-5
    events = [(event["start"], event["end"], event["class"]) for event in said["events"]]
    assert events == [
        (event.start, pytest.approx(event.end), event.name)
        for event in merge_events(
            [
                Second(one["start"], one["end"], one["class"], one["confidence"], one["background"], ())
                for one in said["seconds"]
            ]
        )
    ]
    vtt = (out / "long.vtt").read_text()
    assert vtt.startswith("WEBVTT\n")
    assert vtt.count("-->") == len(events)
    with Image.open(out / "long.timeline.png") as image:
        assert image.width > 1500, "20 seconds a row"
        image.verify()
    assert [line for line in result.stdout.splitlines() if line.startswith(str(out))] == [
        str(out / name) for name in NAMES
    ]
    assert sorted(path.name for path in out.iterdir()) == NAMES


def test_a_run_needs_no_shards(run_of, encoded, tmp_path):
    run = tmp_path / "moved"
    shutil.copytree(run_of("ave"), run)
    about = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**about, "shards": str(tmp_path / "gone")}))
    (one,) = predict(run, [encoded("clip.mp4", *picture(seconds=0.3), *tone(seconds=0.3), *H264)]).videos
    assert one.length_seconds == pytest.approx(0.3, abs=0.05)
    ((second),) = one.seconds
    assert (second.start, second.end) == (0, one.length_seconds)
    assert 0 < second.confidence <= 1


def test_one_bad_file_does_not_stop_the_others(stgcma, run_of, encoded, tmp_path):
    good = encoded("clip.mp4", *picture(seconds=2), *H264)
    folder = tmp_path / "videos"
    (folder / "deeper").mkdir(parents=True)
    (folder / "empty").mkdir()
    shutil.copy(good, folder / "a.mp4")
    shutil.copy(good, folder / "deeper" / "a.MP4")
    shutil.copy(good, folder / "._a.mp4")
    (folder / "notes.txt").write_text("no video")
    content = good.read_bytes()
    (folder / "cut.mp4").write_bytes(content[: len(content) // 2])
    (folder / "noise.mkv").write_bytes(bytes(range(256)) * 40)
    (folder / "nothing.avi").write_bytes(b"")
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.png")
    sound = encoded("sound.m4a", *tone(), "-c:a", "aac")
    bad = (sound, tmp_path / "photo.png", tmp_path / "lost.mp4", folder / "empty")
    out = folder / "out"
    result = stgcma("predict", run_of("ave"), folder, *bad, "--out", out)
    assert result.status == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("stgcma: ")]
    for line, part in zip(
        lines,
        (
            f"{folder / 'empty'}: missing: the folder holds no videos",
            f"{folder / 'cut.mp4'}: unreadable: ",
            f"{folder / 'noise.mkv'}: unreadable: ",
            f"{folder / 'nothing.avi'}: empty: ",
            f"{sound}: no-video: it holds sound alone; a video is needed",
            f"{tmp_path / 'photo.png'}: unreadable: it is a picture; a video is needed",
            f"{tmp_path / 'lost.mp4'}: missing: no such file: lost.mp4",
            "7 of 9 videos could not be used",
        ),
        strict=True,
    ):
        assert part in line
    assert result.stderr.count("silence was put in its place") == 2
    assert "Traceback" not in result.stderr
    assert {path.name for path in out.glob("*.json")} == {"a.json", "a-2.json"}
    again = stgcma("predict", run_of("ave"), folder, "--out", out, "--json")
    said = json.loads(again.stdout)
    assert [one["video"] for one in said["videos"]] == [str(folder / "a.mp4"), str(folder / "deeper/a.MP4")]
    assert [one["reason"] for one in said["failures"]] == ["unreadable", "unreadable", "empty"]
    assert said["videos"][0]["files"] == [str(out / f"a.{end}") for end in ENDS]
    named = {(out / f"{name}.events.csv").read_text().splitlines()[1].split(",")[0] for name in ("a", "a-2")}
    assert {name.rpartition("videos/")[2] for name in named} == {"a.mp4", "deeper/a.MP4"}


def test_a_single_bad_file_is_in_the_json_too(stgcma, run_of, tmp_path):
    result = stgcma("predict", run_of("ave"), tmp_path / "lost.mp4", "--out", tmp_path / "out", "--json")
    assert result.status == 2
    assert [one["reason"] for one in json.loads(result.stdout)["failures"]] == ["missing"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("RUN", "TMP/lost.mp4"), "TMP/lost.mp4: missing: no such file: lost.mp4"),
        (("RUN", "TMP/empty"), "TMP/empty holds no videos"),
        (
            ("RUN", "TMP/lost.mp4", "--question", "Why?"),
            "questions are given, but RUN RUN is for ave, which takes none",
        ),
        (("TMP/none", "TMP/lost.mp4"), "RUN TMP/none is not a run folder"),
        (("TMP/begun", "TMP/lost.mp4"), "RUN TMP/begun has no checkpoint yet"),
        (("TMP/older", "TMP/lost.mp4"), "TMP/older/dataset.json is missing"),
        (("RUN", "TMP/lost.mp4", "--device", "abacus"), "device 'abacus' cannot be used"),
        (
            ("RUN", "TMP/lost.mp4", "--shards", "TMP/s"),
            "shards are 'TMP/s', but RUN says itself what it was trained on; leave them out",
        ),
    ],
)
def test_wrong_requests_are_status_2_and_one_line(stgcma, run_of, tmp_path, arguments, message):
    run = run_of("ave")
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun").mkdir()
    shutil.copy(run / "config.yaml", tmp_path / "begun")
    shutil.copytree(run, tmp_path / "older")
    (tmp_path / "older" / "dataset.json").unlink()
    places = [
        str(run) if argument == "RUN" else argument.replace("TMP", str(tmp_path)) for argument in arguments
    ]
    result = stgcma("predict", *places, "--out", tmp_path / "out")
    assert result.status == 2
    expected = message.replace("RUN RUN", f"RUN {run}").replace("but RUN says", f"but {run} says")
    expected = expected.replace("TMP", str(tmp_path))
    assert [line for line in result.stderr.splitlines() if expected in line], result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_results_that_fail_leave_the_old_ones(run_of, encoded, tmp_path, monkeypatch):
    from stgcma.predict import ave

    video = encoded("clip.mp4", *picture(seconds=1), *tone(seconds=1), *H264)
    out = tmp_path / "out"
    (one,) = predict(run_of("ave"), [video], out=out).videos
    before = {path: path.read_bytes() for path in one.files}

    def fail(_events):
        raise StgcmaError("the disk is full")

    monkeypatch.setattr(ave, "subtitles", fail)
    with pytest.raises(StgcmaError, match="the disk is full"):
        predict(run_of("ave"), [video], out=out)
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_a_run_that_only_hears_or_only_sees(kept_shards, small_config, encoded, tmp_path):
    from stgcma.train.run import train

    video = encoded("clip.mp4", *picture(seconds=1), *tone(seconds=1), *H264)
    for modality in ("audio", "video"):
        train(
            kept_shards("ave"), tmp_path / modality, small_config("ave", "optim.epochs=1", modality=modality)
        )
        (one,) = predict(tmp_path / modality, [video], out=tmp_path / "out").videos
        assert len(one.seconds) == 1


def test_other_feature_settings_are_refused(run_of, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(run_of("ave"), run)
    info = json.loads((run / "dataset.json").read_text())
    info["features"]["jpeg_quality"] = 50
    (run / "dataset.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match="samples that this stgcma makes differently"):
        predict(run, [tmp_path / "clip.mp4"])


def second(start, name, confidence, *, background=False):
    return Second(start, start + 1.0, name, confidence, background, ((name, confidence),))


def test_seconds_of_one_class_are_one_event():
    told = [second(0, "Bell", 0.5), second(1, "Bell", 0.7), second(2, "Dog", 0.9), second(3, "Bell", 0.4)]
    events = list(merge_events([*told, second(4, "Background", 0.9, background=True)]))
    assert events == [
        Event(0, 2, "Bell", pytest.approx(0.6)),
        Event(2, 3, "Dog", 0.9),
        Event(3, 4, "Bell", 0.4),
    ]
    split = [told[0], second(1, "Background", 0.9, background=True), replace(told[1], start=2.0, end=3.0)]
    assert [event.start for event in merge_events(split)] == [0, 2]


def test_subtitles_are_webvtt():
    cues = subtitles([Event(61.5, 3723.25, "Cats & <dogs>", 0.996), Event(3724, 3725, "Bell", 1.0)])
    assert cues == (
        "WEBVTT\n\n"
        "00:01:01.500 --> 01:02:03.250\nCats &amp; &lt;dogs&gt; (&gt;99 %)\n\n"
        "01:02:04.000 --> 01:02:05.000\nBell (100 %)\n"
    )
