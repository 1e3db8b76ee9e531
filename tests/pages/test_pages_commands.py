"""`stgcma report` and `stgcma inspect`: content of the pages, and refused requests."""

import json
import re
import shutil

import fsspec
import pytest
import yaml
from stgcma.figures import duration, short_duration
from stgcma.pages.published import published_scores
from stgcma.pages.views import best_and_worst, ranked_clips
from stgcma.shards.manifest import read_manifest
from stgcma.train.config import load_preset
from stgcma.train.run_folder import RunFolder


def text_of(page):
    """The page without its tags, spaces joined."""
    body = re.sub(r"<(style|script).*?</\1>", " ", page.read_text(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


@pytest.fixture
def run_copy(run_of, tmp_path):
    return shutil.copytree(run_of("ave"), tmp_path / "run")


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_the_report_shows_what_the_run_folder_holds(stgcma, run_copy):
    result = stgcma("report", run_copy)
    assert (result.status, result.stdout) == (0, f"{run_copy / 'report.html'}\n"), result.stderr
    text = text_of(run_copy / "report.html")
    scored = json.loads((run_copy / "evaluation-test.json").read_text())
    summary = json.loads((run_copy / "summary.json").read_text())
    assert f"test accuracy {100 * scored['score']:.1f} %" in text
    assert f"{summary['best_epoch']} of 1" in text
    for time_text in (duration(summary["seconds"]), short_duration(summary["seconds"])):
        assert f" {time_text} " in text  # of the run, and of its one epoch
    assert f"{summary['peak_memory_bytes'] / 2**20:,.0f} MiB" in text
    assert f"{summary['trainable_parameters']:,}" in text
    assert "No score was published for ave-demo." in text
    assert "train 7 1 3,339" in text
    assert "unreadable 1" in text
    assert "no audio stream: silence was put in its place 1" in text
    for name, share in scored["baselines"].items():
        assert f"baseline: {name} {100 * share:.1f} %" in text
    for name, value in yaml.safe_load((run_copy / "config.yaml").read_text())["optim"].items():
        assert f"{name}:" in text, value


def test_the_confusion_matrix_is_the_evaluation_s(stgcma, run_copy):
    stgcma("report", run_copy, "--clips", 0)
    page = (run_copy / "report.html").read_text()
    table = re.search(r'<table class="heat">.*?</table>', page, flags=re.DOTALL)[0]
    cells = re.findall(r'<td class="shade-\d( right)?">(\d*)</td>', table)
    scored = json.loads((run_copy / "evaluation-test.json").read_text())
    assert sum(int(seconds or 0) for _, seconds in cells) == scored["seconds"]
    right = sum(int(seconds or 0) for own, seconds in cells if own)
    assert right == sum(row[index] for index, row in enumerate(scored["confusion"]))


def test_each_clip_is_shown_once_best_first(stgcma, run_copy):
    stgcma("report", run_copy, "--out", run_copy / "sub" / "page.html")
    page = (run_copy / "sub" / "page.html").read_text()
    keys = re.findall(r'<article class="clip" aria-label="([^"]*)"', page)
    test = [record.key for record in read_manifest(shards_of_run(run_copy), split="test")]
    assert sorted(keys) == sorted(test)
    best, worst = page.split("Predicted worst")
    shares = [float(share) for share in re.findall(r"([\d.]+) % of the seconds right", best)]
    others = [float(share) for share in re.findall(r"([\d.]+) % of the seconds right", worst)]
    assert shares == sorted(shares, reverse=True)
    assert others == sorted(others)
    assert min(shares) >= max(others)
    scored = json.loads((run_copy / "evaluation-test.json").read_text())["score"]
    assert sum(shares + others) / 3 == pytest.approx(100 * scored, abs=0.1)


@pytest.mark.parametrize(
    ("scores", "count", "best", "worst"),
    [
        ([0.5, 1.0, 0.25, 0.75], 4, [1, 3], [2, 0]),
        ([1.0, 1.0, 0.5, 1.0], 4, [0, 1], [2]),  # what is wholly right is not among the worst
        ([1.0, 1.0], 4, [0], []),
        ([0.5], 4, [0], []),
    ],
)
def test_the_best_and_the_worst(scores, count, best, worst):
    assert best_and_worst(scores, count) == (best, worst)


def shards_of_run(run):
    return json.loads((run / "run.json").read_text())["shards"]


def test_shards_that_are_gone_are_said_to_be(stgcma, run_copy):
    for name in ("run.json", "evaluation-test.json"):
        change(run_copy / name, shards="/nowhere/shards")
    result = stgcma("report", run_copy)
    assert result.status == 0, result.stderr
    text = text_of(run_copy / "report.html")
    assert "No clips can be shown: /nowhere/shards is not a finished shard directory" in text
    assert "The shards cannot be read: /nowhere/shards" in text
    assert "test accuracy" in text


def test_shards_that_hold_other_data_are_not_shown(stgcma, run_copy):
    change(run_copy / "evaluation-test.json", data_fingerprint="0" * 64)
    assert stgcma("report", run_copy).status == 0
    text = text_of(run_copy / "report.html")
    assert "holds other data now" in text
    assert "the score was measured on 000000000000" in text


def test_a_score_on_shards_that_had_grown_is_shown(stgcma, run_copy):
    """As `evaluate` stores it; one on other shards is not the run's score."""
    stored = (run_copy / "evaluation-test.json").rename(run_copy / "evaluation-test-0123456789ab.json")
    result = stgcma("report", run_copy)
    assert result.status == 0, result.stderr
    assert "was scored on its shards after they had grown; that score is shown" in result.stderr
    assert f"{100 * json.loads(stored.read_text())['score']:.1f} %" in text_of(run_copy / "report.html")
    change(stored, shards="/nowhere/else")
    result = stgcma("report", run_copy)
    assert (result.status, "has no evaluation-test.json" in result.stderr) == (2, True)


def test_the_clips_of_a_streamed_run_are_kept_nowhere(run_copy, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = f"memory://{tmp_path.name}"
    fsspec.filesystem("memory").put(shards_of_run(run_copy), f"/{tmp_path.name}", recursive=True)
    config = run_copy / "config.yaml"
    kept = []
    for read in ("streamed", "indexed"):
        config.write_text(re.sub(r"(?m)^  read: .*", f"  read: {read}", config.read_text()))
        ranked_clips(RunFolder.open(run_copy), url, "test", count=2)
        kept.append((tmp_path / "cache").exists())
    assert kept == [False, True]


def test_a_run_that_is_not_finished_is_said_to_be(stgcma, run_copy):
    (run_copy / "summary.json").unlink()
    assert stgcma("report", run_copy, "--clips", 0).status == 0
    text = text_of(run_copy / "report.html")
    assert "The training of run is not finished: 1 of 1 epochs are done." in text
    assert "No clips were requested." in text


def test_several_runs_stand_side_by_side(stgcma, run_of, run_copy):
    change(run_copy / "evaluation-test.json", score=0.123, bounds={"one guess": 0.456})
    (run_copy / "report.html").write_text("of one run")
    page = run_copy / "comparison.html"
    result = stgcma("report", run_copy, run_of("ave"), "--clips", 0)
    assert (result.status, result.stdout) == (0, f"{page}\n"), result.stderr
    assert (run_copy / "report.html").read_text() == "of one run"
    text = text_of(page)
    assert "run 12.3 %" in text
    assert "one guess: knows the truth of test 45.6 %" in text
    assert "Seconds by true class (row)" in text
    assert "ave-demo: 2 runs" in text
    assert page.read_text().count('<g class="series-1">') == 2


def test_a_score_stands_beside_the_published_one(stgcma, run_copy):
    config = yaml.safe_load((run_copy / "config.yaml").read_text())
    # As if of the published model; the pages look at the name alone.
    config |= {"preset": "ave-clip-b16-tiny", "model": {}}
    config["train"]["select_on"] = "test"
    (run_copy / "config.yaml").write_text(yaml.safe_dump(config))
    rows = (run_copy / "metrics.jsonl").read_text().replace("val_accuracy", "test_accuracy")
    (run_copy / "metrics.jsonl").write_text(rows)
    assert stgcma("report", run_copy, "--clips", 0).status == 0
    text = text_of(run_copy / "report.html")
    assert "published: ave-clip-b16-tiny 76.3 % 402 av test" in text
    assert "chose the epoch on the test split" in text
    assert "run chose its epoch on test ( --select-on test )" in text


def test_published_scores_are_of_presets_and_of_their_ablation():
    assert published_scores(load_preset("avqa-swin-b"), "music-avqa") == []
    assert published_scores(load_preset("ave-swin-b-base"), "folder") == []
    assert len(published_scores(load_preset("ave-swin-b-base"), "ave")) == 1
    assert published_scores(load_preset("ave-swin-b-base", backbone="swin-l"), "ave") == []
    whole = [
        (row.name, row.score, row.clips) for row in published_scores(load_preset("avs-swin-l"), "avs-s4")
    ]
    assert whole == [("avs-swin-l", 0.818, 740)]
    part = published_scores(load_preset("avs-swin-l", temporal=True, spatial=False, global_=False), "avs-s4")
    assert [(row.name, row.score) for row in part] == [
        ("avs-swin-l", 0.818),
        ("avs-swin-l, +temporal", 0.808),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("report", "EMPTY"), "EMPTY is not a run folder: it has no config.yaml"),
        (("report", "SEVERAL"), "SEVERAL is not a run folder but holds 1: run; name those that you want"),
        (
            ("report", "RUN", "--split", "val"),
            "has no evaluation-val.json; make it with `stgcma evaluate RUN",
        ),
        (("report", "RUN", "--out", "EMPTY"), "EMPTY is a folder, the page needs the name of a file"),
        (("report", "RUN", "--out", "FILE/page.html"), "FILE is a file, a folder is needed"),
        (("inspect", "EMPTY"), "EMPTY is not a finished shard directory"),
        (
            ("inspect", "SHARDS", "--class", "Bark"),
            "class is 'Bark', must be one of 'Helicopter', 'Violin, fiddle',",
        ),
        (("inspect", "SHARDS", "--warning", "x" * 9), "no clip with a warning that contains 'xxxxxxxxx'"),
        (("inspect", "memory://shards"), "OUT memory://shards is a URL; the option page must give the path"),
    ],
)
def test_wrong_requests_are_status_2(stgcma, run_copy, troubled_shards, tmp_path, arguments, message):
    places = {"EMPTY": tmp_path / "empty", "SEVERAL": tmp_path, "RUN": run_copy, "SHARDS": troubled_shards}
    places["EMPTY"].mkdir()
    places["FILE"] = run_copy / "config.yaml"

    def in_place(text):
        for name, path in places.items():
            text = text.replace(name, str(path))
        return text

    result = stgcma(*map(in_place, arguments))
    assert result.status == 2
    assert in_place(message) in result.stderr.splitlines()[-1]


def shown(page):
    return re.findall(
        r'<article class="clip" aria-labelledby="clip-([^"]*)" data-split="(\w*)"', page.read_text()
    )


def test_inspect_writes_beside_the_shards(stgcma, troubled_shards):
    result = stgcma("inspect", troubled_shards, "--clips", 4)
    page = troubled_shards.with_name("shards-inspect.html")
    assert (result.status, result.stdout) == (0, f"{page}\n"), result.stderr
    assert stgcma("shards", "verify", troubled_shards).status == 0
    splits = [split for _, split in shown(page)]
    assert splits == ["train", "train", "val", "test"]


def test_inspect_shows_what_is_asked_for(stgcma, troubled_shards, tmp_path):
    page = tmp_path / "page.html"

    def inspect(*options):
        result = stgcma("inspect", troubled_shards, "--page", page, *options)
        assert result.status == 0, result.stderr
        return shown(page)

    records = {record.key: record for record in read_manifest(troubled_shards)}
    assert {key for key, _ in inspect()} == set(records)
    assert {split for _, split in inspect("--split", "test")} == {"test"}
    ((key, _),) = inspect("--warning", "NO AUDIO")
    assert records[key].warnings
    assert inspect("--clips", 3, "--seed", 1) == inspect("--clips", 3, "--seed", 1)
    assert inspect("--clips", 3, "--seed", 2) != inspect("--clips", 3, "--seed", 1)
    name = "Violin, fiddle"
    clips = inspect("--class", name)
    assert 0 < len(clips) < len(records)
    assert page.read_text().count(f'">{name}</td>') == len(clips)


def test_inspect_reads_only_the_clips_that_it_shows(stgcma, troubled_shards, tmp_path):
    copy = shutil.copytree(troubled_shards, tmp_path / "shards")
    for shard in (copy / "shards").glob("train-*.tar"):
        shard.unlink()
    page = tmp_path / "page.html"
    assert stgcma("inspect", copy, "--split", "val", "--page", page).status == 0
    assert len(shown(page)) == 1
    result = stgcma("inspect", copy, "--page", page)
    assert result.status == 1
    assert "is missing, the manifest names it" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(("task", "heading"), [("avs", "masks"), ("avqa", "question")])
@pytest.mark.slow
def test_inspect_shows_masks_and_questions(stgcma, shards_of, tmp_path, task, heading):
    page = tmp_path / "page.html"
    result = stgcma("inspect", shards_of(task), "--page", page, "--clips", 2)
    assert result.status == 0, result.stderr
    assert f">{heading}</th>" in page.read_text()
