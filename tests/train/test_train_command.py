"""`stgcma train` and `evaluate` on a few real shards."""

import dataclasses
import json
import re
import shutil
from dataclasses import asdict

import pytest
import torch
import yaml
from safetensors.torch import load_file

from ..conftest import SMALL

# One process for all: they share a trained run.
pytestmark = pytest.mark.xdist_group("train-command")

SETTINGS = (*SMALL["ave"], "optim.epochs=1", "optim.warmup_epochs=0", "data.workers=0")
FEW = tuple(word for setting in SETTINGS for word in ("--set", setting))


@pytest.fixture(scope="module")
def trained(ave_shards, small_config, tmp_path_factory):
    from stgcma.train.run import train

    run = tmp_path_factory.mktemp("runs") / "av"
    summary = train(ave_shards, run, small_config("ave", "optim.epochs=2", "data.workers=1"))
    return run, summary


def test_the_run_folder_holds_what_ran(trained, ave_shards):
    run, summary = trained
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["preset"], config["optim"]["epochs"]) == ("ave-demo", 2)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[-1]["adapter_lr"] == config["optim"]["minimal_lr"]
    best = max(rows, key=lambda row: row["val_accuracy"])
    assert (summary.best_epoch, summary.best_score) == (best["epoch"], best["val_accuracy"])
    about = json.loads((run / "run.json").read_text())
    assert about["shards"] == str(ave_shards)
    assert 0 < about["trainable_parameters"] < about["total_parameters"]
    assert about["versions"]["torch"].startswith("2.11")
    assert len(about["backbone"]["sha256"]) == 64
    assert json.loads((run / "summary.json").read_text()) == asdict(summary)
    steps = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    assert [row["step"] for row in steps] == list(range(1, 5))
    for epoch in (1, 2):
        keys = [key for row in steps if row["epoch"] == epoch for key in row["clips"]]
        assert len(keys) == len(set(keys)) == 8
    for name in ("best", "last"):
        assert (run / "checkpoints" / name / "adapters.safetensors").is_file()


def test_tensorboard_holds_every_step_and_epoch(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, _ = trained
    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    drawn = board.Scalars("train/loss")
    rows = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    assert [event.step for event in drawn] == [row["step"] for row in rows]
    assert [event.value for event in drawn] == pytest.approx([row["loss"] for row in rows], rel=1e-6)
    assert len(board.Scalars("epoch/val_accuracy")) == 2
    classes = [tag for tag in board.Tags()["scalars"] if tag.startswith("epoch/val_accuracy/")]
    assert len(classes) == len(json.loads((run / "dataset.json").read_text())["classes"])


def test_recomputing_activations_changes_no_number(ave_shards, small_config, trained, tmp_path):
    from stgcma.train.run import train

    train(ave_shards, tmp_path / "run", small_config("ave", "optim.epochs=2", "train.checkpointing=true"))
    last = "checkpoints/last/adapters.safetensors"
    kept, recomputed = load_file(trained[0] / last), load_file(tmp_path / "run" / last)
    assert kept.keys() == recomputed.keys()
    assert all(torch.equal(kept[name], recomputed[name]) for name in kept)


def test_training_lowers_the_loss_and_repeats_to_the_bit(four_clips, small_config, tmp_path):
    from stgcma.train.run import train

    weights, losses = [], []
    for name in ("one", "two"):
        train(four_clips, tmp_path / name, small_config("ave", "optim.epochs=4"))
        weights.append((tmp_path / name / "checkpoints" / "last" / "adapters.safetensors").read_bytes())
        rows = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        losses.append([row["loss"] for row in rows])
    assert losses[0][-1] < losses[0][0]
    assert losses[0] == losses[1]
    assert weights[0] == weights[1]


def test_evaluate_scores_every_split(stgcma, trained):
    run, _ = trained
    for split, clips in (("train", 8), ("val", 1), ("test", 3)):
        result = stgcma("evaluate", run, "--split", split, "--json")
        assert result.status == 0, result.stderr
        scored = json.loads(result.stdout)
        assert (scored["clips"], scored["seconds"]) == (clips, 10 * clips)
        assert scored == json.loads((run / f"evaluation-{split}.json").read_text())
        assert scored["selected_on"] == "val"
        right = sum(row[index] for index, row in enumerate(scored["confusion"]))
        assert scored["accuracy"] == right / (10 * clips)
    best = max(json.loads(line)["val_accuracy"] for line in (run / "metrics.jsonl").read_text().splitlines())
    assert json.loads((run / "evaluation-val.json").read_text())["accuracy"] == best


@pytest.mark.parametrize("modality", ["av-nofusion", "video", "audio"])
def test_other_modalities_train_and_score(stgcma, four_clips, tmp_path, modality):
    run = tmp_path / "run"
    arguments = ("--preset", "ave-demo", "--run", run, "--modality", modality, *FEW, "--json")
    result = stgcma("train", four_clips, *arguments)
    assert result.status == 0, result.stderr
    assert json.loads(result.stdout)["epochs"] == 1
    scored = json.loads(stgcma("evaluate", run, "--json").stdout)
    assert scored["modality"] == modality


def test_a_run_is_not_replaced_unasked(stgcma, trained, ave_shards):
    run, _ = trained
    result = stgcma("train", ave_shards, "--preset", "ave-demo", "--run", run)
    assert result.status == 2
    assert f"RUN {run} holds a run already" in result.stderr


def test_a_model_that_cannot_be_built_leaves_no_folder_and_no_old_run_is_lost(
    stgcma, four_clips, small_config, tmp_path
):
    from stgcma.train.run import train

    new, old = tmp_path / "new", tmp_path / "old"
    train(four_clips, old, small_config("ave", "optim.epochs=1"))
    before = sorted(path.relative_to(old) for path in old.rglob("*"))
    command = ("train", four_clips, "--preset", "ave-demo", "--weights", tmp_path / "none.pth")
    for options in (("--run", new), ("--run", old, "--overwrite")):
        result = stgcma(*command, *options)
        assert result.status == 2
        assert "none.pth: no such file" in result.stderr
    assert not new.exists()
    assert sorted(path.relative_to(old) for path in old.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "SHARDS", "--preset", "ave", "--run", "RUN"), "preset 'ave' is not known; choose from"),
        (("train", "TMP", "--preset", "ave-demo", "--run", "RUN"), "TMP is not a finished shard directory"),
        (("train", "SHARDS", "--preset", "ave-demo", "--run", "RUN", "--set", "model.depht=2"), "'depht'"),
        (("evaluate", "TMP"), "RUN TMP is not a run folder"),
        (("evaluate", "RUN"), "RUN RUN is not a run folder"),
    ],
)
def test_wrong_requests_are_status_2_and_one_line(stgcma, ave_shards, tmp_path, arguments, message):
    places = {"SHARDS": str(ave_shards), "TMP": str(tmp_path), "RUN": str(tmp_path / "run")}
    result = stgcma(*(places.get(argument, argument) for argument in arguments))
    assert result.status == 2
    assert message.replace("RUN RUN", f"RUN {places['RUN']}").replace("TMP", str(tmp_path)) in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_score_that_is_not_met_is_said(stgcma, trained):
    run, _ = trained
    stgcma("evaluate", run, "--split", "val")
    stored = run / "evaluation-val.json"
    before = json.loads(stored.read_text())
    stored.write_text(json.dumps({**before, "score": before["score"] + 0.01, "machine": "elsewhere"}))
    result = stgcma("evaluate", run, "--split", "val")
    assert result.status == 1
    assert re.search(
        r"stores \d+\.\d\d % on val \(on elsewhere\), but it scores \d+\.\d\d % here", result.stderr
    )
    assert json.loads(stored.read_text())["machine"] == "elsewhere", "what is stored stays"
    for_machines = stgcma("evaluate", run, "--split", "val", "--json")
    assert for_machines.status == 1
    assert json.loads(for_machines.stdout)["stored"]["met"] is False
    stored.write_text(json.dumps(before))
    assert stgcma("evaluate", run, "--split", "val").status == 0


def test_other_shards_are_scored_beside_the_runs_own(stgcma, trained, ave_shards, tmp_path):
    from stgcma.shards.manifest import read_dataset, write_dataset

    run, _ = trained
    shutil.copytree(ave_shards, tmp_path / "other")
    info = read_dataset(tmp_path / "other")
    write_dataset(
        tmp_path / "other", dataclasses.replace(info, features={**info.features, "clips_per_shard": 31})
    )
    result = stgcma("evaluate", run, "--shards", tmp_path / "other", "--split", "val", "--json")
    scored = json.loads(result.stdout)
    assert "stored" not in scored
    (kept,) = run.glob("evaluation-val-*.json")
    assert json.loads(kept.read_text()) == scored


def test_the_score_of_an_earlier_checkpoint_counts_no_more(stgcma, trained, tmp_path):
    """Scored while it was trained, a run goes on to other weights."""
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    assert stgcma("evaluate", run).status == 0
    stored = run / "evaluation-test.json"
    before = json.loads(stored.read_text())
    stored.write_text(json.dumps({**before, "checkpoint_sha256": "0" * 64, "score": 0.999}))
    refused = stgcma("report", run)
    assert refused.status == 2
    assert (
        "'s evaluation-test.json is of an earlier checkpoint; make it with `stgcma evaluate" in refused.stderr
    )
    again = stgcma("evaluate", run, "--json")
    assert (again.status, "stored" in json.loads(again.stdout)) == (0, False)
    assert json.loads(stored.read_text()) == before


def test_classes_in_another_order_do_not_fit(stgcma, trained, ave_shards, tmp_path):
    from stgcma.shards.manifest import read_dataset, write_dataset

    shutil.copytree(ave_shards, tmp_path / "other")
    info = read_dataset(tmp_path / "other")
    first, second, *others = info.classes
    write_dataset(tmp_path / "other", dataclasses.replace(info, classes=(second, first, *others)))
    result = stgcma("evaluate", trained[0], "--shards", tmp_path / "other")
    assert result.status == 2
    assert "has other classes than" in result.stderr


def test_other_shards_are_normalised_as_the_model_was_trained(trained, ave_shards, tmp_path):
    from stgcma.shards.manifest import read_dataset, write_dataset
    from stgcma.train.evaluation import evaluate

    run, _ = trained
    shutil.copytree(ave_shards, tmp_path / "other")
    info = read_dataset(tmp_path / "other")
    louder = {name: dataclasses.replace(each, mean=each.mean + 5) for name, each in info.audio.items()}
    write_dataset(tmp_path / "other", dataclasses.replace(info, audio=louder))
    own, other = (evaluate(run, split="train", shards=place) for place in (ave_shards, tmp_path / "other"))
    assert other.detail == own.detail


def test_shards_of_other_classes_do_not_fit(stgcma, trained, kept_shards):
    result = stgcma("evaluate", trained[0], "--shards", kept_shards("avqa"))
    assert result.status == 2
    assert "the model is for ave" in result.stderr


# A quick test of predictions trains and scores AVS and AVQA, too.
@pytest.mark.parametrize("task", ["avs", pytest.param("avqa", marks=pytest.mark.slow)])
def test_the_other_tasks_train_score_and_report(stgcma, kept_shards, small_config, tmp_path, task):
    from stgcma.train.evaluation import evaluate
    from stgcma.train.run import train

    run = tmp_path / "run"
    train(kept_shards(task), run, small_config(task, "optim.epochs=1"))
    result = stgcma("evaluate", run, "--json")
    assert result.status == 0, result.stderr
    scored = json.loads(result.stdout)
    assert scored["score"] == scored[scored["score_name"]]
    assert all(0 <= value <= 1 for value in scored["baselines"].values())
    assert len(scored["baselines"]) >= 2
    (epoch,) = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    metrics = evaluate(run, split="val").metrics
    assert len(metrics) == {"avs": 5, "avqa": 13}[task]
    assert {name: epoch[f"val_{name}"] for name in metrics} == metrics
    assert stgcma("report", run).status == 0
    page = (run / "report.html").read_text()
    assert f"{100 * scored['score']:.1f} %" in page
    assert page.count('<article class="clip"') == 1
    assert ("with the pixels said to sound" in page) == (task == "avs")
    assert ("Questions about " in page) == (task == "avqa")
    assert ('<th scope="col">F-score</th>' in page) == (task == "avs")
