"""`stgcma train`, `evaluate` and `report` on a few real shards."""

import json
import re

import pytest
import torch
import yaml
from safetensors.torch import load_file

FEW = ("--set", "optim.epochs=2", "--set", "data.workers=0")


@pytest.fixture(scope="module")
def trained(ave_shards, tmp_path_factory):
    from stgcma.train.config import load_preset
    from stgcma.train.loop import train

    run = tmp_path_factory.mktemp("runs") / "av"
    summary = train(ave_shards, run, load_preset("ave-demo", ["optim.epochs=3", "data.workers=1"]))
    return run, summary


def test_the_run_folder_holds_what_ran(trained, ave_shards):
    run, summary = trained
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["preset"], config["optim"]["epochs"]) == ("ave-demo", 3)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[-1]["adapter_lr"] == config["optim"]["minimal_lr"]
    best = max(rows, key=lambda row: row["val_accuracy"])
    assert (summary.best_epoch, summary.best_accuracy) == (best["epoch"], best["val_accuracy"])
    about = json.loads((run / "run.json").read_text())
    assert about["shards"] == str(ave_shards)
    assert 0 < about["trainable_parameters"] < about["total_parameters"]
    assert about["versions"]["torch"].startswith("2.11")
    assert len(about["backbone"]["sha256"]) == 64
    for name in ("best", "last"):
        assert (run / "checkpoints" / name / "adapters.safetensors").is_file()


def test_recomputing_activations_changes_no_number(ave_shards, trained, tmp_path):
    from stgcma.train.config import load_preset
    from stgcma.train.loop import train

    settings = ["optim.epochs=3", "data.workers=0", "train.checkpointing=true"]
    train(ave_shards, tmp_path / "run", load_preset("ave-demo", settings))
    last = "checkpoints/last/adapters.safetensors"
    kept, recomputed = load_file(trained[0] / last), load_file(tmp_path / "run" / last)
    assert kept.keys() == recomputed.keys()
    assert all(torch.equal(kept[name], recomputed[name]) for name in kept)


def test_training_lowers_the_loss_and_repeats_to_the_bit(ave_shards, tmp_path):
    from stgcma.train.config import load_preset
    from stgcma.train.loop import train

    weights, losses = [], []
    for name in ("one", "two"):
        train(ave_shards, tmp_path / name, load_preset("ave-demo", ["optim.epochs=4", "data.workers=0"]))
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
        right = sum(row[index] for index, row in enumerate(scored["confusion"]))
        assert scored["accuracy"] == right / (10 * clips)
    best = max(json.loads(line)["val_accuracy"] for line in (run / "metrics.jsonl").read_text().splitlines())
    assert json.loads((run / "evaluation-val.json").read_text())["accuracy"] == best


def test_the_report_is_one_page_without_other_files(stgcma, trained):
    run, _ = trained
    stgcma("evaluate", run)
    result = stgcma("report", run)
    assert result.status == 0, result.stderr
    page = (run / "report.html").read_text()
    accuracy = json.loads((run / "evaluation-test.json").read_text())["accuracy"]
    assert f"{100 * accuracy:.1f} %" in page
    assert page.count('<figure class="clip">') == 3
    assert page.count("<svg") == 2
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert "http" not in page


@pytest.mark.parametrize("modality", ["av-nofusion", "video", "audio"])
def test_other_modalities_train_and_score(stgcma, ave_shards, tmp_path, modality):
    run = tmp_path / "run"
    arguments = ("--preset", "ave-demo", "--run", run, "--modality", modality, *FEW, "--json")
    result = stgcma("train", ave_shards, *arguments)
    assert result.status == 0, result.stderr
    assert json.loads(result.stdout)["epochs"] == 2
    scored = json.loads(stgcma("evaluate", run, "--json").stdout)
    assert scored["modality"] == modality


def test_a_run_is_not_replaced_unasked(stgcma, trained, ave_shards):
    run, _ = trained
    result = stgcma("train", ave_shards, "--preset", "ave-demo", "--run", run)
    assert result.status == 2
    assert f"RUN {run} holds a run already" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "SHARDS", "--preset", "ave", "--run", "RUN"), "preset 'ave' is not known; choose from"),
        (("train", "TMP", "--preset", "ave-demo", "--run", "RUN"), "TMP is not a finished shard directory"),
        (("train", "SHARDS", "--preset", "ave-demo", "--run", "RUN", "--set", "model.depht=2"), "'depht'"),
        (("evaluate", "TMP"), "RUN TMP is not a run folder"),
        (("evaluate", "RUN"), "RUN RUN is not a run folder"),
        (("report", "TMP"), "RUN TMP is not a run folder"),
    ],
)
def test_wrong_requests_are_status_2_and_one_line(stgcma, ave_shards, tmp_path, arguments, message):
    places = {"SHARDS": str(ave_shards), "TMP": str(tmp_path), "RUN": str(tmp_path / "run")}
    result = stgcma(*(places.get(argument, argument) for argument in arguments))
    assert result.status == 2
    assert message.replace("RUN RUN", f"RUN {places['RUN']}").replace("TMP", str(tmp_path)) in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_loss_that_is_not_finite_stops_and_names_the_clips(ave_shards, tmp_path, monkeypatch):
    from stgcma.errors import StgcmaError
    from stgcma.train import loop
    from stgcma.train.config import load_preset

    forward = loop.forward
    monkeypatch.setattr(loop, "forward", lambda *arguments: forward(*arguments) * float("nan"))
    config = load_preset("ave-demo", ["optim.epochs=1", "data.workers=0", "optim.batch_size=1"])
    with pytest.raises(StgcmaError, match=r"the loss is nan at step 0, on the clips [\w-]{11}$"):
        loop.train(ave_shards, tmp_path / "run", config)
