"""What version 0.1 wrote can still be used: shards, runs and checkpoints. `tests/earlier/make.py` made it."""

import json
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from stgcma.errors import InputError
from stgcma.model import load_model
from stgcma.shards.manifest import read_dataset, read_manifest
from stgcma.train.evaluation import evaluate
from stgcma.train.loop import train
from stgcma.train.run_folder import RunFolder

EARLIER = Path(__file__).parent / "earlier" / "0.1"
EXPECTED = json.loads((EARLIER / "expected.json").read_text())
TASKS = {"ave": "ave", "avs-s4": "avs", "music-avqa": "avqa"}


@pytest.fixture
def earlier(tmp_path):
    """Unpacks an archive of version 0.1 in `tmp_path`: a collection's shards, or `models`."""

    def unpack(name: str) -> Path:
        with tarfile.open(EARLIER / f"{name}.tar.xz") as archive:
            archive.extractall(tmp_path, filter="data")
        return tmp_path if name == "models" else tmp_path / name

    return unpack


@pytest.mark.parametrize("name", TASKS)
def test_shards_verify(name, earlier, stgcma):
    shards = earlier(name)
    assert read_dataset(shards).task == TASKS[name]
    assert [record.split for record in read_manifest(shards)] == ["train", "train", "val", "test"]
    verified = stgcma("shards", "verify", shards)
    assert (verified.status, "no faults; 4 clips" in verified.stdout) == (0, True), verified.stderr
    assert stgcma("shards", "stats", shards).status == 0


@pytest.mark.parametrize(("name", "task"), TASKS.items())
def test_shards_can_be_trained_on(name, task, earlier, small_config, tmp_path):
    config = small_config(task, "optim.epochs=1")
    summary = train(earlier(name), tmp_path / "new", config)
    assert 0 <= summary.best_score <= 1


def test_a_finished_run_scores_and_is_left_alone(earlier):
    run, shards = earlier("models") / "run", earlier("ave")
    result = evaluate(run, shards=shards).to_json()
    assert {name: result[name] for name in EXPECTED["run"]["test"]} == EXPECTED["run"]["test"]
    assert train(shards, run, RunFolder(run).read_config(), resume=True).epochs == 3


def test_an_interrupted_run_goes_on_to_the_same_end(earlier):
    run, shards = earlier("models") / "stopped", earlier("ave")
    assert len((run / "steps.jsonl").read_text().splitlines()) == 3
    train(shards, run, RunFolder(run).read_config(), resume=True)
    steps, epochs = RunFolder(run).read_rows("steps.jsonl"), RunFolder(run).read_rows("metrics.jsonl")
    assert [step["clips"] for step in steps] == EXPECTED["run"]["clips"]
    # Another machine sums in another order.
    assert [step["loss"] for step in steps] == pytest.approx(EXPECTED["run"]["losses"], abs=2e-3)
    scores = [epoch["val_accuracy"] for epoch in epochs]
    assert scores == pytest.approx([epoch["val_accuracy"] for epoch in EXPECTED["run"]["epochs"]])


def test_a_run_predicts(earlier):
    from stgcma.predict import predict

    folder = earlier("models")
    (found,) = predict(folder / "run", [folder / "clip.mp4"], device="cpu").videos
    seconds = found.to_json()["seconds"]
    assert [second["class"] for second in seconds] == [name for name, _ in EXPECTED["run"]["seconds"]]
    shares = [share for _, share in EXPECTED["run"]["seconds"]]
    assert [second["confidence"] for second in seconds] == pytest.approx(shares, abs=2e-3)


def test_an_imported_checkpoint_opens(earlier):
    model = load_model(earlier("models") / "imported")
    torch.testing.assert_close(logits(model), torch.tensor(EXPECTED["imported"]["logits"]))


def test_a_checkpoint_whose_backbone_was_a_file_opens_with_weights(earlier):
    folder = earlier("models")
    with pytest.raises(InputError, match=r"no such file; the checkpoint .*of-file was trained on it"):
        load_model(folder / "of-file")
    model = load_model(folder / "of-file", weights=folder / "backbone.safetensors")
    torch.testing.assert_close(logits(model), torch.tensor(EXPECTED["of-file"]["logits"]))


def draw(name, shape):
    """As in `make.py`."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return torch.from_numpy(generator.standard_normal(shape).astype(np.float32))


def logits(model):
    """As in `make.py`."""
    inputs = {name: draw(f"input.{name}", shape) for name, shape in model.config.input_shapes(1).items()}
    with torch.inference_mode():
        return model(**inputs)["logits"][0]
