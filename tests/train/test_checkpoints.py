"""Checkpoint folders without a run: scored, asked, and prepared for with what is in the folder alone."""

import json
import shutil

import pytest
import stgcma as package
import torch
from stgcma.errors import InputError
from stgcma.model import load_model
from stgcma.train.data import ClipDataset, open_task
from stgcma.train.evaluation import evaluate
from stgcma.train.inputs import decode_frames, read_fbank
from stgcma.train.objective import run_model
from stgcma.train.order import ALL_QUESTIONS, Item
from stgcma.train.run import train
from stgcma.train.trained import open_trained

# One process for all: they share a trained run.
pytestmark = pytest.mark.xdist_group("checkpoints")


@pytest.fixture(scope="module")
def run(four_clips, small_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    config = small_config("ave", "optim.epochs=1", "data.fbank_mean=-4.0", "data.fbank_std=3.0")
    train(four_clips, folder, config)
    return folder


@pytest.fixture(scope="module")
def handed_on(run, tmp_path_factory):
    """The checkpoint folder alone, elsewhere; the run's own backbone stays behind."""
    folder = tmp_path_factory.mktemp("elsewhere") / "model"
    shutil.copytree(run / "checkpoints" / "best", folder)
    return folder


def test_a_checkpoint_alone_scores_like_its_run(stgcma, run, handed_on, four_clips):
    expected = evaluate(run, split="val").to_json()
    before = sorted(handed_on.iterdir())
    done = stgcma("evaluate", "--model", handed_on, "--shards", four_clips, "--split", "val", "--json")
    found = json.loads(done.stdout)
    assert found["confusion"] == expected["confusion"]
    assert found["score"] == expected["score"]
    assert found["selected_on"] is None
    assert sorted(handed_on.iterdir()) == before


def test_a_checkpoint_says_what_it_was_trained_on(run, handed_on, four_clips):
    text = (handed_on / "model.json").read_text()
    known = json.loads(text)["trained_on"]
    info = open_task(four_clips).info
    assert known["classes"] == list(info.classes)
    assert known["features"] == info.features
    assert (known["fbank"], known["fbank_mean"], known["fbank_std"]) == ("fbank_128", -4.0, 3.0)
    assert str(run.parent) not in text
    assert str(four_clips) not in text
    trained = open_trained(handed_on)
    assert (trained.config.data.fbank_mean, trained.config.preset) == (-4.0, "ave-demo")
    assert trained.info.classes == info.classes


def test_prepared_inputs_are_those_of_training(handed_on, four_clips):
    model = load_model(handed_on)
    trained = open_trained(handed_on)
    clips = ClipDataset(four_clips, "val", open_task(four_clips), trained.config.data, model.config)
    from stgcma.model.noise import BatchSlice

    read = clips[Item(0, ALL_QUESTIONS, 0, 0, BatchSlice(0, 1, 1), True)].inputs
    members = clips.members(0)
    clips.close()
    fbank = torch.from_numpy(read_fbank(members, "fbank_128"))
    inputs = package.prepare_inputs(model, frames=decode_frames(members), fbank=fbank)
    assert torch.equal(inputs["audio"][0], read["audio"])
    with torch.inference_mode():
        expected = run_model(model, {name: tensor[None] for name, tensor in read.items()}, "fp32")
        assert torch.equal(model(**inputs)["logits"], expected["logits"])


@pytest.fixture
def unknown(handed_on, tmp_path):
    """The checkpoint as `import-reference` or version 0.1 writes it: without a word about the data."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "imported"
    shutil.copytree(handed_on, folder)
    description = json.loads((folder / "model.json").read_text())
    del description["trained_on"]
    save_file(
        load_file(folder / "adapters.safetensors"),
        folder / "adapters.safetensors",
        {"stgcma": json.dumps(description)},
    )
    (folder / "model.json").write_text(json.dumps(description))
    return folder


def test_an_imported_checkpoint_is_scored_with_a_preset(stgcma, run, unknown, four_clips, monkeypatch):
    from stgcma.train import trained

    load = trained.load_preset
    # The preset of the release has the published mean and std; here it is given those of the run.
    normalised = ["data.fbank_mean=-4.0", "data.fbank_std=3.0", "data.workers=0"]
    monkeypatch.setattr(trained, "load_preset", lambda name: load(name, normalised))
    arguments = ("--model", unknown, "--shards", four_clips, "--split", "val", "--json")
    found = json.loads(stgcma("evaluate", *arguments, "--preset", "ave-demo").stdout)
    assert found["confusion"] == evaluate(run, split="val").to_json()["confusion"]
    for preset, message in (
        (
            (),
            "does not say what it was trained on (it was imported, or is of an earlier version): a",
        ),
        (("--preset", "avs-demo"), "preset avs-demo is for avs"),
    ):
        done = stgcma("evaluate", *arguments, *preset)
        assert (done.status, message in done.stderr) == (2, True), done.stderr


def test_other_shards_than_the_checkpoints_are_refused(run, handed_on, kept_shards):
    with pytest.raises(InputError, match="is made for avs, the model is for ave"):
        evaluate(handed_on, shards=kept_shards("avs"))
    with pytest.raises(InputError, match="is a checkpoint: name the shards to score it on"):
        evaluate(handed_on)
    with pytest.raises(InputError, match=r"preset is 'ave-demo', but RUN .* has its own"):
        evaluate(run, preset="ave-demo")


def test_exactly_one_model_is_named(stgcma, run, handed_on):
    for arguments in ((), (run, "--model", handed_on)):
        done = stgcma("evaluate", *arguments)
        assert done.status == 2
        assert "give a run folder, or a checkpoint folder with --model" in done.stderr


def test_a_checkpoint_predicts(stgcma, run, handed_on, ave_raw, tmp_path):
    video = min((ave_raw / "AVE").glob("*.mp4"))
    alone = stgcma("predict", "--model", handed_on, video, "--out", tmp_path / "alone", "--json")
    assert alone.status == 0, alone.stderr
    of_run = stgcma("predict", run, video, "--out", tmp_path / "run", "--json")
    found, expected = (json.loads(done.stdout)["videos"][0] for done in (alone, of_run))
    assert found["seconds"] == expected["seconds"]


def test_a_backbone_that_was_moved_is_given_with_weights(stgcma, four_clips, small_config, tmp_path):
    from safetensors.torch import save_file
    from stgcma.model import build_model
    from stgcma.train.config import architecture

    config = small_config("ave", "optim.epochs=1")
    backbone = build_model("ave-demo", **architecture(config), backbone_seed=4).encoder.backbone
    weights, moved, run = tmp_path / "weights.safetensors", tmp_path / "moved.safetensors", tmp_path / "run"
    save_file(dict(backbone.named_parameters()), weights)
    train(four_clips, run, small_config("ave", "optim.epochs=1", f"model.weights={weights}"))
    assert str(tmp_path) not in (run / "checkpoints/best/model.json").read_text()
    arguments = ("evaluate", run, "--split", "val", "--json")
    there = stgcma(*arguments)
    weights.rename(moved)
    missing, given = stgcma(*arguments), stgcma(*arguments, "--weights", moved)
    assert (there.status, missing.status, given.status) == (0, 2, 0), given.stderr
    assert "give its place with the option weights" in missing.stderr
    assert json.loads(given.stdout)["confusion"] == json.loads(there.stdout)["confusion"]
    report = stgcma("report", run, "--split", "val", "--weights", moved)
    assert (report.status, "not in the page" in report.stderr) == (0, False), report.stderr
