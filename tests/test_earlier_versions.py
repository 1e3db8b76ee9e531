"""Shards, runs and checkpoints of earlier versions can be used; tests/earlier/README.md describes them."""

import json
import math
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from stgcma.errors import InputError
from stgcma.model import ModelConfig, load_model, preset_config
from stgcma.shards.manifest import read_dataset, read_manifest
from stgcma.train.automatic import resolve
from stgcma.train.config import load_preset, parse, with_earlier_defaults
from stgcma.train.distributed import ProcessGroup
from stgcma.train.evaluation import evaluate
from stgcma.train.run import train
from stgcma.train.run_folder import RunFolder

EARLIER = Path(__file__).parent / "earlier"
FORMATS = {"0.1": 1, "0.1-format-2": 2}
EXPECTED = {version: json.loads((EARLIER / version / "expected.json").read_text()) for version in FORMATS}
LATER = EXPECTED["0.1-format-2"]
TASKS = {"ave": "ave", "avs-s4": "avs", "music-avqa": "avqa"}


@pytest.fixture(params=FORMATS)
def version(request):
    return request.param


@pytest.fixture
def models(version, made_once):
    """The runs and checkpoints of a version; not to be changed."""
    return unpacked(version, made_once)


@pytest.fixture
def copied_models(version, tmp_path):
    """The same, to be changed."""
    return unpack_models(version, tmp_path)


@pytest.fixture
def shards(version, earlier_shards):
    """The folder of a version's shard directories."""
    return earlier_shards / version


def unpacked(version, made_once):
    return made_once(f"models-{version}", lambda folder: unpack_models(version, folder))


def unpack_models(version, folder):
    with tarfile.open(EARLIER / version / "models.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_every_folder_is_tested():
    assert {path.parent.name for path in EARLIER.glob("*/expected.json")} == FORMATS.keys()


@pytest.mark.parametrize("name", TASKS)
def test_shards_verify(name, version, shards, stgcma):
    info = read_dataset(shards / name)
    assert (info.task, info.format_version) == (TASKS[name], FORMATS[version])
    assert [record.split for record in read_manifest(shards / name)] == ["train", "train", "val", "test"]
    verified = stgcma("shards", "verify", shards / name)
    assert (verified.status, "no faults; 4 clips" in verified.stdout) == (0, True), verified.stderr
    assert stgcma("shards", "stats", shards / name).status == 0


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize(
    "version",
    [
        pytest.param("0.1", marks=pytest.mark.slow),  # `kept_shards` has these: many tests train on them
        "0.1-format-2",
    ],
    indirect=True,
)
def test_shards_can_be_trained_on(name, shards, small_config, tmp_path):
    config = small_config(TASKS[name], "optim.epochs=1")
    summary = train(shards / name, tmp_path / "new", config)
    assert 0 <= summary.best_score <= 1


def test_a_finished_run_scores_and_is_left_alone(version, copied_models, shards):
    run, expected = copied_models / "run", EXPECTED[version]["run"]["test"]
    result = evaluate(run, shards=shards / "ave").to_json()
    assert {name: result[name] for name in expected} == expected
    assert train(shards / "ave", run, RunFolder(run).read_config(), resume=True).epochs == 3


def test_an_interrupted_run_goes_on_to_the_same_end(version, copied_models, shards):
    run, expected = copied_models / "stopped", EXPECTED[version]["run"]
    assert len((run / "steps.jsonl").read_text().splitlines()) == 3
    train(shards / "ave", run, RunFolder(run).read_config(), resume=True)
    steps, epochs = (RunFolder(run).records.read(name) for name in ("steps.jsonl", "metrics.jsonl"))
    assert [step["clips"] for step in steps] == expected["clips"]
    # Another machine sums in another order.
    assert [step["loss"] for step in steps] == pytest.approx(expected["losses"], abs=2e-3)
    scores = [epoch["val_accuracy"] for epoch in epochs]
    assert scores == pytest.approx([epoch["val_accuracy"] for epoch in expected["epochs"]])


def test_a_run_predicts(version, models):
    check_seconds(models / "run", models / "clip.mp4", EXPECTED[version]["run"]["seconds"])


def check_seconds(path, clip, expected):
    from stgcma.predict import predict

    (found,) = predict(path, [clip], device="cpu").videos
    seconds = found.to_json()["seconds"]
    assert [second["class"] for second in seconds] == [name for name, _ in expected]
    shares = [share for _, share in expected]
    assert [second["confidence"] for second in seconds] == pytest.approx(shares, abs=2e-3)


def test_an_imported_checkpoint_opens(version, models):
    model = load_model(models / "imported")
    torch.testing.assert_close(logits(model), torch.tensor(EXPECTED[version]["imported"]["logits"]))


def test_a_checkpoint_whose_backbone_was_a_file_opens_with_weights(version, models):
    with pytest.raises(InputError, match=r"no such file; the checkpoint .*of-file was trained on it"):
        load_model(models / "of-file")
    model = load_model(models / "of-file", weights=models / "backbone.safetensors")
    torch.testing.assert_close(logits(model), torch.tensor(EXPECTED[version]["of-file"]["logits"]))


def test_an_exported_checkpoint_scores_and_predicts_like_its_run(made_once, earlier_shards):
    folder, expected = unpacked("0.1-format-2", made_once), LATER["run"]
    result = evaluate(folder / "exported", shards=earlier_shards / "0.1-format-2/ave").to_json()
    for name in ("score", "seconds", "by_class", "confusion"):
        assert result[name] == expected["test"][name]
    check_seconds(folder / "exported", folder / "clip.mp4", expected["seconds"])


@pytest.mark.parametrize("preset", LATER["drawn"])
def test_a_checkpoint_of_another_task_gives_the_same_outputs(preset, tmp_path):
    drawn = LATER["drawn"][preset]
    tensors = {name: scaled_draw(name, shape) for name, shape in drawn["shapes"].items()}
    text = json.dumps(drawn["model.json"])
    save_file(tensors, tmp_path / "adapters.safetensors", {"stgcma": text})
    (tmp_path / "model.json").write_text(text)
    found = outputs(load_model(tmp_path))
    assert found.keys() == drawn["outputs"].keys()
    for name, output in found.items():
        corner = output[0][tuple(slice(4) for _ in output[0].shape)]
        torch.testing.assert_close(corner, torch.tensor(drawn["outputs"][name]))


@pytest.mark.parametrize("preset", LATER["presets"])
def test_settings_and_architectures_of_presets_are_read_and_the_same(preset):
    """On a CPU, settings that presets now leave to the machine are as they were."""
    settings = parse(with_earlier_defaults(LATER["presets"][preset]), where="config.yaml")
    assert settings == resolve(load_preset(preset), ProcessGroup(0, 1, torch.device("cpu")))
    assert ModelConfig.from_dict(LATER["architectures"][preset]) == preset_config(preset)


def draw(name, shape):
    """As in `make.py`."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return torch.from_numpy(generator.standard_normal(shape).astype(np.float32))


def scaled_draw(name, shape):
    """As in `make.py`."""
    x = draw(name, shape) * (0.5 if len(shape) < 2 else math.prod(shape[1:]) ** -0.5)
    return x.abs() if name.endswith("running_var") else x


def draw_input(name, shape):
    """As in `make.py`."""
    x = draw(f"input.{name}", shape)
    return (x.abs() * 20).long() if name == "question" else x


def outputs(model):
    inputs = {name: draw_input(name, shape) for name, shape in model.config.input_shapes(1).items()}
    with torch.inference_mode():
        return model(**inputs)


def logits(model):
    return outputs(model)["logits"][0]
