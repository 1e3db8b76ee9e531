"""Exported files say what they take, agree with the model, and are not left where they do not."""

import json
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import stgcma
import torch
from stgcma.errors import InputError, StgcmaError
from stgcma.export import FORMATS, service
from stgcma.export.description import to_text
from stgcma.export.program import DeployedModel
from stgcma.export.pt2 import DESCRIPTION
from stgcma.model import TrainedOn, build_from_config, build_model, preset_config, save_checkpoint
from stgcma.shards.schema import DatasetInfo
from stgcma.train.inputs import Normalisation

HERE = str(Path(stgcma.__file__).parent).encode()
CLASSES = ("bell", "dog", "background")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of AVE with three steps, frames of 64 pixels and fbanks of 70 × 32."""
    torch.manual_seed(0)
    model = build_model(
        "ave-demo",
        weights="random",
        width=32,
        depths=[1],
        heads=[2],
        frames=3,
        image_size=64,
        patch=32,
        audio_shape=[70, 32],
        classes=len(CLASSES),
    ).eval()
    backbone = model.config.backbone
    with torch.no_grad():
        for group in model.parameter_groups().values():
            for parameter in group.values():
                parameter.add_(torch.randn(parameter.shape) * 0.1)
    model.trained_on = TrainedOn(
        collection="ave",
        preset="ave-demo",
        classes=CLASSES,
        vocabulary={},
        features={"sampling": {"frames": 3}, "fbanks": {"clip": {"mel_bins": 32}}},
        clip_seconds=3.0,
        fbank=backbone.fbank,
        fbank_mean=-5.0,
        fbank_std=4.0,
        image_mean=backbone.image_mean,
        image_std=backbone.image_std,
    )
    folder = tmp_path_factory.mktemp("checkpoint") / "best"
    save_checkpoint(model, folder, backbone_folder=folder)
    return folder


def info_of(classes):
    return DatasetInfo(
        name="ave",
        task="ave",
        features={"sampling": {"frames": 3}, "fbanks": {"clip": {"mel_bins": 32}}},
        classes=classes,
        counts={},
        audio={},
        versions={},
        plan_sha256="",
    )


def clips(count, length, seed=7):
    generator = np.random.default_rng(seed)
    frames = generator.integers(0, 256, (count, 3, 3, 64, 64), dtype=np.uint8)
    return frames, generator.normal(-5, 4, (count, 3, length, 32)).astype(np.float32)


def by_hand(checkpoint, frames, fbank):
    """The model's logits, its inputs prepared by `prepare_inputs`, one clip after the other."""
    model = stgcma.load_model(checkpoint)
    with torch.inference_mode():
        return np.concatenate(
            [
                model(
                    **stgcma.prepare_inputs(
                        model, frames=torch.from_numpy(one), fbank=torch.from_numpy(sound)
                    )
                )["logits"].numpy()
                for one, sound in zip(frames, fbank, strict=True)
            ]
        )


@pytest.mark.slow
def test_a_pt2_file_runs_with_torch_alone_and_says_what_it_takes(checkpoint, tmp_path):
    done = service.export(checkpoint, tmp_path / "model.pt2")
    assert [check.clips for check in done.checks] == [1, 3]
    assert done.largest_difference <= 1e-4
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]

    texts = {DESCRIPTION: ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=texts).module()
    about = json.loads(texts[DESCRIPTION])
    assert about == json.loads(to_text(done.description))
    assert about["classes"] == list(CLASSES)
    assert about["inputs"]["frames"]["shape"] == ["clips", 3, 3, 64, 64]
    assert about["inputs"]["fbank"] == {
        "dtype": "float32",
        "shape": ["clips", 3, "fbank_frames", 32],
        "meaning": "log-mel energies of a clip, as in fbank_32.npy, of any length",
    }
    assert about["outputs"]["logits"]["shape"] == ["clips", 3, 3]
    assert (about["normalisation"]["fbank_mean"], about["normalisation"]["fbank_std"]) == (-5, 4)

    frames, fbank = clips(5, 64)
    found = program(frames=torch.from_numpy(frames), fbank=torch.from_numpy(fbank))["logits"]
    np.testing.assert_allclose(found.detach(), by_hand(checkpoint, frames, fbank), atol=1e-5)
    with zipfile.ZipFile(tmp_path / "model.pt2") as archive:
        assert not [name for name in archive.namelist() if HERE in archive.read(name)]


class Mean(torch.nn.Module):
    """A model that is small enough to be converted in a second: the mean of sound and picture."""

    def __init__(self):
        super().__init__()
        self.config = preset_config("ave-demo", frames=2, image_size=32, patch=16, audio_shape=[16, 16])
        self.layer = torch.nn.Linear(2, 4)

    def forward(self, *, video, audio, **_):
        return {"logits": self.layer(torch.stack([video.mean((2, 3, 4)), audio.mean((2, 3))], -1))}


@pytest.fixture
def small():
    return DeployedModel(Mean(), Normalisation(-5, 4)).eval(), info_of(("a", "b", "c", "d"))


@pytest.mark.filterwarnings("error:.*LeafSpec:FutureWarning")
def test_onnx_files_name_their_dimensions(small, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    done = service.write_checked(service.prepare(*small), FORMATS["onnx"], tmp_path / "model.onnx")
    assert 0 < done.largest_difference < 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["stgcma"])
    assert about["classes"] == ["a", "b", "c", "d"]
    assert {one.name: one.shape for one in session.get_inputs()} == {
        "frames": ["clips", 2, 3, 32, 32],
        "fbank": ["clips", 2, "fbank_frames", 16],
    }
    assert [one.shape for one in session.get_outputs()] == [["clips", 2, 4]]
    assert HERE not in (tmp_path / "model.onnx").read_bytes()


def test_pt2_files_hold_their_description(small, tmp_path):
    steps = []
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*buffer is not writable")
        done = service.write_checked(
            service.prepare(*small), FORMATS["pt2"], tmp_path / "model.pt2", on_step=steps.append
        )
    assert steps == ["writing model.pt2", "comparing the file with the model"]
    assert [check.clips for check in done.checks] == [1, 3]
    texts = {DESCRIPTION: ""}
    torch.export.load(tmp_path / "model.pt2", extra_files=texts)
    assert json.loads(texts[DESCRIPTION]) == json.loads(to_text(done.description))
    with zipfile.ZipFile(tmp_path / "model.pt2") as archive:
        assert not [name for name in archive.namelist() if HERE in archive.read(name)]


@pytest.mark.slow
def test_the_command_writes_an_onnx_file(checkpoint, tmp_path, stgcma):
    onnxruntime = pytest.importorskip("onnxruntime")
    shown = stgcma("export", checkpoint, tmp_path / "model.onnx")
    assert shown.status == 0, shown.stderr
    assert "allowed 0.0001" in shown.stdout
    steps = [line.partition(" ")[0] for line in shown.stderr.splitlines()]
    assert steps == ["loading", "tracing", "writing", "comparing"]
    assert "1 clip: " in shown.stdout
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["stgcma"])
    assert {one.name: one.shape for one in session.get_inputs()} == {
        name: tensor["shape"] for name, tensor in about["inputs"].items()
    }
    frames, fbank = clips(4, 90)
    (found,) = session.run(["logits"], {"frames": frames, "fbank": fbank})
    np.testing.assert_allclose(found, by_hand(checkpoint, frames, fbank), atol=1e-5)
    assert HERE not in (tmp_path / "model.onnx").read_bytes()


def test_a_file_that_disagrees_is_not_left(checkpoint, tmp_path, monkeypatch):
    class Wrong(type(FORMATS["pt2"])):
        def write(self, _, path, *, description):
            path.write_text(to_text(description))

        def open(self, _path, **_):
            return lambda inputs: {"logits": torch.full((len(inputs["frames"]), 3, 3), 0.5)}

    monkeypatch.setattr(service, "trace", lambda deployed: deployed)
    monkeypatch.setattr(service, "_format_of", lambda _: Wrong())
    (tmp_path / "model.pt2").write_bytes(b"before")
    with pytest.raises(StgcmaError, match=r"logits differs from the model by .*, more than 0.0001"):
        service.export(checkpoint, tmp_path / "model.pt2")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]
    assert (tmp_path / "model.pt2").read_bytes() == b"before"


def test_a_backbone_in_bf16_is_exported_in_float32(monkeypatch):
    config = preset_config(
        "ave-demo",
        width=32,
        depths=[1],
        heads=[2],
        frames=2,
        image_size=64,
        patch=32,
        audio_shape=[70, 32],
        adapter="side",
        side_layers=[0],
        backbone_precision="bf16",
    )
    model, cpu = build_from_config(config), torch.device("cpu")
    assert model.encoder.side.computes_in_bf16(cpu)
    monkeypatch.setattr(service, "normalisation_of", lambda *_, **__: Normalisation(-5, 4))
    trained = SimpleNamespace(model=model, info=None, config=SimpleNamespace(data=None), path="run")
    assert not service._deployed(trained).model.encoder.side.computes_in_bf16(cpu)


class TwoFiles(type(FORMATS["onnx"])):
    """Files of text in place of ONNX; weights are beside them where there are any."""

    weights = "new"

    def check_installed(self):
        pass

    def write(self, _, path, *, description):  # noqa: ARG002
        path.write_text(f"of {self.weights}")
        if self.weights:
            self.beside(path)[0].write_text(self.weights)

    def open(self, _path, **_):
        return lambda inputs: {"logits": torch.zeros(len(inputs["frames"]), 2, 4)}


@pytest.fixture
def two_files(small, monkeypatch):
    """`two_files(path, format_)` writes a file and its weights."""
    monkeypatch.setattr(service, "trace", lambda deployed: deployed)
    monkeypatch.setattr(service, "_compared", lambda *_: 0.0)
    return lambda path, format_: service.write_checked(service.prepare(*small), format_, path)


def test_weights_of_an_older_file_are_removed(two_files, tmp_path):
    path, format_ = tmp_path / "model.onnx", TwoFiles()
    (tmp_path / "model.onnx.data").write_text("of somebody else")
    format_.weights = ""
    assert two_files(path, format_).files == (path,)
    assert (tmp_path / "model.onnx.data").exists()  # there was no file that it belonged to
    format_.weights = "new"
    assert two_files(path, format_).files == (path, tmp_path / "model.onnx.data")
    format_.weights = ""
    two_files(path, format_)
    assert [one.name for one in tmp_path.iterdir()] == ["model.onnx"]


def test_a_file_never_lies_beside_weights_of_another_one(two_files, tmp_path, monkeypatch):
    path, replace = tmp_path / "model.onnx", Path.replace
    path.write_text("of old")
    (tmp_path / "model.onnx.data").write_text("old")

    def replaced(source, target):
        replace(source, target)
        data = target.with_name("model.onnx.data")
        assert not path.exists() or path.read_text() == f"of {data.read_text()}"
        return target

    monkeypatch.setattr(Path, "replace", replaced)
    two_files(path, TwoFiles())
    assert path.read_text() == "of new"


def test_nan_is_no_agreement():
    with pytest.raises(StgcmaError, match="logits differs from the model by nan"):
        service._compared(
            lambda _: {"logits": torch.tensor([float("nan")])}, {}, {"logits": torch.zeros(1)}, Path("m.pt2")
        )


def test_other_endings_and_missing_packages_are_named(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"model.tflite ends in '.tflite', must end in .onnx or .pt2"):
        service.export(tmp_path, tmp_path / "model.tflite")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="file is a file; choose another folder"):
        service.export(tmp_path, tmp_path / "file" / "model.pt2")
    with pytest.raises(InputError, match="absent does not exist; make this folder"):
        service.export(tmp_path, tmp_path / "absent" / "model.pt2")
    monkeypatch.setattr("stgcma.export.onnx.find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(InputError, match=r"need onnxscript; pip install 'stgcma\[export\]'"):
        service.export(tmp_path, tmp_path / "model.onnx")


def test_the_command_checks_the_file_before_the_run(stgcma, tmp_path, monkeypatch):
    monkeypatch.setattr("stgcma.commands.options.fetched_runs", None)  # is not called
    shown = stgcma("export", "hf:ORG/NAME", tmp_path / "absent" / "model.onnx")
    assert (shown.status, "absent does not exist" in shown.stderr) == (2, True)


@pytest.mark.parametrize("length", [1, 69, 70, 71, 200])
def test_fbanks_are_normalised_and_cut_as_for_training(length):
    from stgcma.model.inputs import normalise_fbank

    class Inner(torch.nn.Module):
        class config:  # noqa: N801
            audio_shape = (70, 32)

    constants = Normalisation(-4.1, 3.2)
    energies = torch.randn(2, 3, length, 32)
    found = DeployedModel(Inner(), constants)._audio(energies)
    wanted = [normalise_fbank(clip, 70, constants.mean, constants.std) for clip in energies]
    assert torch.equal(found, torch.stack(wanted))
