"""Stored outputs of the frozen backbone: training on them is training on frames and sound."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from stgcma.columns import add_tokens
from stgcma.errors import InputError, StgcmaError
from stgcma.model import build_model
from stgcma.model.frozen_features import encoded_of, frozen_features, layout_of, pack
from stgcma.model.inputs import normalise_frames
from stgcma.model.noise import BatchSlice
from stgcma.shards.columns import column_store, read_column, read_column_records
from stgcma.shards.manifest import read_manifest
from stgcma.shards.verification import verify
from stgcma.train.data import ClipDataset, open_task
from stgcma.train.evaluation import evaluate
from stgcma.train.inputs import Normalisation
from stgcma.train.order import Item
from stgcma.train.run import train
from stgcma.train.run_folder import RunFolder
from stgcma.train.run_records import STEPS
from stgcma.train.tokens import StoredTokens, fit_tokens, layout_from, read_tokens, token_settings

from ..train.stream_shards import FEW, write_shards


def random_inputs(config, clips=2):
    generator = torch.Generator().manual_seed(3)
    shapes = config.input_shapes(clips)
    return {name: torch.randn(shapes[name], generator=generator) for name in config.modalities}


def further_inputs(model, task):
    """The inputs of the head besides those of the encoder, for two clips."""
    if task == "avqa":
        words = torch.arange(3 * 14).view(3, 14) % model.config.head.vocabulary
        return {"question": words, "owner": torch.tensor([0, 1, 1]), "negative": None}
    if task == "avss":
        return {"frame_mask": torch.tensor([[True, False], [True, True]])}
    return {}


def new_model(task, small_config, *settings, **model):
    config = small_config(task, *settings, **model)
    options = {name: value for name, value in config.model.items() if name != "weights"}
    torch.manual_seed(0)
    return build_model(config.preset, "random", **options)


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("ave", ()),
        ("ave", ("modality=audio",)),
        ("avs", ("frames=2",)),
        ("avqa", ("frames=2",)),
        ("avss", ("frames=2",)),
        ("ave", ("depths=[3]", "side_layers=[1,2]")),
    ],
)
def test_outputs_and_gradients_are_those_of_the_whole_model(small_config, task, settings):
    settings = [f"model.{setting}" for setting in settings]
    model = new_model(task, small_config, *settings, adapter="side").eval()  # without dropout
    with torch.no_grad():  # at first the network adds nothing, and has hardly a gradient
        for parameter in model.encoder.side.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    inputs = random_inputs(model.config)
    features = frozen_features(model.encoder, inputs)
    packed = pack(features)
    assert packed.dtype == torch.float16
    model.feature_layout = layout_of(features)
    more = further_inputs(model, task)
    frames = more.get("frame_mask", torch.ones(2, model.config.frames, dtype=torch.bool))
    if "negative" in more:
        more, negative = more, random_inputs(model.config)["video"].flip(0)
        stored = frozen_features(model.encoder, {**inputs, "video": negative})[model.encoder.stored_video]
        both = [{**more, "negative": negative}, {**more, "negative": stored.half()}]
    else:
        both = [more, more]
    results = []
    for given in (inputs | both[0], {"features": packed} | both[1]):
        model.zero_grad()
        outputs = model(**given)
        seen = {n: x[frames] if x.dim() > 2 else x for n, x in outputs.items()}
        sum(x.float().square().sum() for x in seen.values()).backward()
        outputs = seen
        gradients = {
            n: p.grad for g in model.parameter_groups().values() for n, p in g.items() if p.grad is not None
        }
        results.append((outputs, gradients))
    (whole, whole_gradients), (stored, stored_gradients) = results
    assert stored.keys() == whole.keys()
    assert stored_gradients.keys() == whole_gradients.keys()
    for name, x in whole.items():
        torch.testing.assert_close(stored[name], x, rtol=5e-3, atol=5e-3)
    for name, x in whole_gradients.items():
        error = (stored_gradients[name] - x).norm() / x.norm().clamp(min=1e-3)
        assert error < 0.02, name


def test_features_of_another_layout_are_refused(small_config):
    model = new_model("ave", small_config, adapter="side")
    features = frozen_features(model.encoder, random_inputs(model.config))
    with pytest.raises(InputError, match="features: taken in place of video and audio, by a model with"):
        model(features=pack(features))
    with pytest.raises(InputError, match=r"features: shape \[2, 7\], expected \[B, \d+\]"):
        encoded_of(model.encoder, torch.zeros(2, 7, dtype=torch.float16), layout_of(features))


def test_a_layout_or_tokens_that_are_too_small_are_refused():
    with pytest.raises(InputError, match="the tokens is damaged: it has no layout"):
        layout_from({"layout": [["audio.tap0", [2, 0]]]})
    settings = {"layout": [["video.tap0", [2, 3]]], "video": "video.tap0"}
    stored = StoredTokens(SimpleNamespace(info=SimpleNamespace(settings=settings), location="OUT"))
    assert stored.frame_of({"tokens.npy": bytes(12)}, 1).tolist() == [0, 0, 0]
    with pytest.raises(StgcmaError, match=r"tokens\.npy has 4 bytes, expected 12 or more"):
        stored.frame_of({"tokens.npy": bytes(4)}, 0)


def test_only_a_network_beside_the_backbone_reads_them(small_config):
    model = new_model("ave", small_config)
    with pytest.raises(InputError, match="adapter 'stg-cma' is inside of the backbone"):
        frozen_features(model.encoder, random_inputs(model.config))


@pytest.fixture
def few(kept_shards, tmp_path):
    write_shards(kept_shards("ave"), tmp_path / "few", FEW)
    return tmp_path / "few"


def settings(small_config, *more):
    return small_config("ave", "optim.epochs=1", "data.workers=0", *more, adapter="side")


@pytest.mark.slow
def test_a_run_on_tokens_has_the_losses_of_one_on_frames(few, small_config, tmp_path, monkeypatch):
    config = settings(small_config)
    with pytest.raises(InputError, match="has no column tokens; add it with `stgcma shards add-tokens"):
        train(few, tmp_path / "none", settings(small_config, "data.tokens=true"))
    added = add_tokens(few, config, device="cpu")
    assert (added.written, added.was_complete) == (12, False)
    assert read_column(few, "tokens").settings["layers"]
    assert verify(few).faults == ()
    assert add_tokens(few, config, device="cpu").was_complete
    scores = [train(few, tmp_path / "frames", config)]
    with monkeypatch.context() as patched:
        patched.setattr("stgcma.train.data.decode_frames", None)
        patched.setattr("stgcma.train.data.read_fbank", None)
        patched.setattr("stgcma.model.backbones.flat.FlatEncoder.run_blocks", None)
        scores.append(train(few, tmp_path / "tokens", settings(small_config, "data.tokens=true")))
    assert scores[1].best_score == pytest.approx(scores[0].best_score, abs=0.02)
    losses = [
        [row["loss"] for row in RunFolder(tmp_path / name).records.read(STEPS)]
        for name in ("frames", "tokens")
    ]
    assert len(losses[0]) >= 2
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)
    # A finished run is scored on frames and sound.
    assert evaluate(tmp_path / "tokens", split="val").clips == 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_random_it_ends_with_the_same_bytes(few, tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OMP_NUM_THREADS": "1",
    }
    program = Path(__file__).with_name("token_kills.py")
    command = [sys.executable, program, few, tmp_path, "100", "7"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == {"kills": 100, "different": []}


def check_negatives(out, config, on_tokens):
    """The stored outputs for frames of other clips are those of the frames that a run on frames draws."""
    model = build_model(config.preset, "random", **{k: v for k, v in config.model.items() if k != "weights"})
    task = open_task(out)
    found = []
    for each in (config, on_tokens):
        dataset = ClipDataset(out, "train", task, each.data, model.config, seed=0)
        items = [Item(clip, 0, 1, 0, BatchSlice(0, 1, 1), True) for clip in (0, 1, 0)]
        found.append([dataset[item].inputs["negative"] for item in items])
        dataset.close()
    record = model.config.backbone
    for pixels, stored in zip(*found, strict=True):
        frames = normalise_frames(pixels, record.image_mean, record.image_std)[None]
        inputs = {**random_inputs(model.config, 1), "video": frames}
        features = frozen_features(model.eval().encoder, inputs)[model.encoder.stored_video][0]
        assert stored.dtype == torch.float16
        torch.testing.assert_close(stored.float(), features, rtol=2e-3, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "more"),
    [
        ("avqa", ()),
        ("avqa", ("data.negatives=clip", "data.verify=false")),
        ("avqa", ("data.read=streamed",)),
        ("avss", ()),
    ],
)
def test_tokens_stand_for_frames_of_other_clips_and_for_shorter_clips(
    kept_shards, small_config, tmp_path, task, more
):
    out = tmp_path / "out"
    if task == "avqa":
        write_shards(kept_shards(task), out, FEW)
    else:  # clips of 5 and of 10 frames
        shutil.copytree(kept_shards(task), out)
    # While training, frames of other clips pass DropPath, which stored outputs cannot.
    more = ("optim.epochs=1", "model.drop_path=0.0", "model.side_layers=[0,2,3]", *more)
    config = small_config(task, *more, adapter="side")
    assert add_tokens(out, config, device="cpu").written == len(read_manifest(out))
    assert verify(out).faults == ()
    assert read_column(out, "tokens").settings["layers"] == [0, 2, 3]
    sizes = {row.bytes for row in read_column_records(column_store(out, "tokens"))}
    assert (len(sizes) > 1) == (task == "avss")
    on_tokens = small_config(task, *more, "data.tokens=true", adapter="side")
    if task == "avqa":
        check_negatives(out, config, on_tokens)
    train(out, tmp_path / "frames", config)
    train(out, tmp_path / "tokens", on_tokens)
    losses = [
        [row["loss"] for row in RunFolder(tmp_path / name).records.read(STEPS)]
        for name in ("frames", "tokens")
    ]
    assert len(losses[0]) >= 2
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("data.augment=true", "data.augment changes the frames"),
        ("data.mixup=0.5", "data.mixup changes the sound"),
    ],
)
def test_settings_that_change_inputs_are_refused(few, small_config, setting, message):
    config = settings(small_config, setting, "data.tokens=true")
    task = open_task(few)
    with pytest.raises(InputError, match=message):
        ClipDataset(few, "train", task, config.data, new_model("ave", small_config, adapter="side").config)


def tokens_of(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return {"tokens.npy": buffer.getvalue()}


def test_tokens_of_another_size_are_refused():
    """Of two tensors, of three frames each."""
    layout = (("video.tap0", (3, 2, 2)), ("audio.tap0", (3, 1)))
    whole = np.arange(15, dtype=np.float16)
    assert read_tokens(tokens_of(whole), layout)["features"].tolist() == list(range(15))
    one_frame = read_tokens(tokens_of(whole[:5]), layout, padded=True)
    assert one_frame["features"].tolist() == [0, 1, 2, 3] + [0] * 8 + [4, 0, 0]
    assert one_frame["frame_mask"].tolist() == [True, False, False]
    for array, padded in ((whole[:5], False), (whole[:6], True), (whole[:0], True), (whole + 1.0, True)):
        array = array.astype(np.float32) if array.size == 15 else array
        with pytest.raises(StgcmaError, match=r"tokens\.npy is float.*, expected float16 \[15\]"):
            read_tokens(tokens_of(array), layout, padded=padded)


@pytest.mark.slow
def test_tokens_of_another_backbone_are_refused(few, small_config, tmp_path):
    add_tokens(few, settings(small_config), device="cpu")
    other = settings(small_config, "data.tokens=true", "model.backbone_seed=7")
    with pytest.raises(InputError, match="was made with another backbone, weights_sha256; drop it with"):
        train(few, tmp_path / "run", other)


@pytest.mark.parametrize(
    "name", ["backbone", "weights_sha256", "layers", "modalities", "frames", "normalisation"]
)
def test_tokens_of_other_settings_are_refused(small_config, name):
    model, normalisation = new_model("ave", small_config, adapter="side"), Normalisation(-4.0, 3.0)
    frames = model.config.frames
    there = token_settings(model, normalisation) | {"layout": [["audio.tap0", [frames, 3]]]}
    column = SimpleNamespace(location="OUT", member="tokens", info=SimpleNamespace(settings=there))
    fit_tokens(model, column, normalisation)
    assert model.feature_layout == (("audio.tap0", (frames, 3)),)
    there[name] = "another"
    with pytest.raises(
        InputError, match=f"OUT: the column tokens was made with another {name}; drop it with"
    ):
        fit_tokens(model, column, normalisation)


def test_a_layout_of_other_frames_than_the_models_is_refused(small_config):
    model, normalisation = new_model("ave", small_config, adapter="side"), Normalisation(-4.0, 3.0)
    frames = model.config.frames
    there = token_settings(model, normalisation) | {"layout": [["audio.tap0", [frames + 1, 3]]]}
    column = SimpleNamespace(location="OUT", member="tokens", info=SimpleNamespace(settings=there))
    with pytest.raises(
        InputError, match=f"OUT: .* its layout has {frames + 1} frames, the model {frames}; add"
    ):
        fit_tokens(model, column, normalisation)
