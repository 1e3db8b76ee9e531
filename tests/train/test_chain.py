"""`stgcma run`: what is done with the same settings is skipped, what is not is done again."""

import json
import shutil

import pytest
from stgcma.preprocess.collections import COLLECTIONS
from stgcma.train.tasks import TASKS

from ..conftest import SMALL


@pytest.fixture
def raw(ave_raw, tmp_path):
    """Four clips of the collection: two for training, one each for val and test."""
    raw = shutil.copytree(ave_raw, tmp_path / "raw")
    for split, clips in (("train", 2), ("val", 1), ("test", 1)):
        path = raw / f"{split}Set.txt"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:clips]))
    return raw


def stages(result):
    said = result.stderr
    return {
        "shards": "was complete already" not in said,
        "training": "is finished already" not in said,
        "scoring": "is already scored" not in said,
    }


def test_stages_are_skipped_or_done_again(stgcma, raw, tmp_path):
    work = tmp_path / "work"

    def run(*settings):
        chosen = [*SMALL["ave"], "data.workers=0", "optim.epochs=1", "optim.warmup_epochs=0", *settings]
        options = [part for setting in chosen for part in ("--set", setting)]
        result = stgcma("run", "ave", raw, work, "--preset", "ave-demo", *options)
        assert result.status == 0, result.stderr
        return result

    first = run()
    assert stages(first) == {"shards": True, "training": True, "scoring": True}
    assert "4 clips written, 0 quarantined" in first.stdout
    score = json.loads((work / "run" / "evaluation-test.json").read_text())
    assert f"{100 * score['score']:.1f} %" in first.stdout
    assert (work / "run" / "report.html").is_file()

    page = (work / "run" / "report.html").stat().st_mtime_ns
    assert stages(run()) == {"shards": False, "training": False, "scoring": False}
    assert (work / "run" / "report.html").stat().st_mtime_ns == page

    other = run("optim.adapter_lr=1e-4")
    assert stages(other) == {"shards": False, "training": True, "scoring": True}
    assert "training again: " in other.stderr
    assert "optim.adapter_lr was 0.002, is 0.0001" in other.stderr


@pytest.mark.slow
def test_other_videos_make_all_stages_anew(stgcma, ave_raw, tmp_path):
    raw = shutil.copytree(ave_raw, tmp_path / "raw")
    settings = (*SMALL["ave"], "optim.epochs=1", "optim.warmup_epochs=0")
    options = [part for setting in settings for part in ("--set", setting)]
    command = ("run", "ave", raw, tmp_path / "work", "--preset", "ave-demo", *options)
    assert stgcma(*command).status == 0
    lines = (raw / "testSet.txt").read_text().splitlines()
    (raw / "testSet.txt").write_text("\n".join(lines[:-1]) + "\n")
    again = stgcma(*command)
    assert again.status == 0, again.stderr
    assert "preprocessing again: " in again.stderr
    assert "training again: " in again.stderr
    assert stages(again) == {"shards": True, "training": True, "scoring": True}


def test_too_many_failed_clips_are_status_3_after_the_page(stgcma, raw, tmp_path):
    work = tmp_path / "work"
    clip = (raw / "trainSet.txt").read_text().splitlines()[0].split("&")[1]
    (raw / "AVE" / f"{clip}.mp4").write_bytes(b"no video")
    settings = (*SMALL["ave"], "data.workers=0", "optim.epochs=1", "optim.warmup_epochs=0")
    options = [part for setting in settings for part in ("--set", setting)]
    done = stgcma("run", "ave", raw, work, "--preset", "ave-demo", "--max-failed", "0%", *options)
    assert done.status == 3, done.stderr
    assert "1 of 4 clips were quarantined, more than --max-failed 0%" in done.stderr
    assert (work / "run" / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("avqs", "RAW", "WORK", "--preset", "ave-demo"),
            f"TASK is 'avqs', must be one of {', '.join(dict.fromkeys([*TASKS, *COLLECTIONS]))}",
        ),
        (("ave", "RAW", "WORK", "--preset", "demo"), "preset 'demo' is not known"),
        (("avqa", "RAW", "WORK", "--preset", "avqa-demo"), "avqa-train.json is missing"),
    ],
)
def test_wrong_requests_are_status_2_and_say_what_is_wrong(stgcma, ave_raw, tmp_path, arguments, message):
    places = {"RAW": str(ave_raw), "WORK": str(tmp_path / "work")}
    result = stgcma("run", *(places.get(argument, argument) for argument in arguments))
    assert result.status == 2
    assert message in result.stderr.splitlines()[-1]


def test_shards_of_another_task_are_not_trained_on(stgcma, ave_raw, tmp_path):
    result = stgcma("run", "ave", ave_raw, tmp_path / "work", "--preset", "avs-demo")
    assert result.status == 2
    assert "preset avs-demo is for avs, TASK is ave" in result.stderr
