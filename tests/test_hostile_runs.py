"""Run folders and checkpoints from a stranger: each is refused, in little memory, by what reads it."""

import io
import json
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from stgcma.bounded import parse_yaml
from stgcma.errors import InputError
from stgcma.model import ModelConfig, load_model
from stgcma.model.torch_files import check_tensors, load_torch
from stgcma.model.weights import read_state_dict
from stgcma.pages.runs import read_runs
from stgcma.train.run import train
from stgcma.train.run_folder import RunFolder

from .shards.hostile import deep, run_commands

EARLIER = Path(__file__).parent / "earlier" / "0.1"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{after}: &{after} [{','.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
MODULES = ("stgcma.train.run", "stgcma.train.evaluation", "stgcma.predict", "stgcma.pages.report")
RESULT = {
    "task": "ave",
    "split": "test",
    "clips": 1,
    "modality": "av",
    "score_name": "accuracy",
    "score": 0.5,
    "by_class": {"Bell": 0.5},
    "confusion": [[2]],
    "baselines": {},
    "selected_on": "val",
    "machine": "x86_64",
}


@pytest.fixture
def run(tmp_path):
    """A finished run of version 0.1, scored."""
    with tarfile.open(EARLIER / "models.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    run = RunFolder(tmp_path / "run")
    texts = {"checkpoint_sha256": run.best_sha256(), "shards": str(tmp_path / "ave"), "data_fingerprint": "0"}
    run.write_json("evaluation-test.json", RESULT | texts)
    return tmp_path / "run"


def described(adapters, **changes):
    """Write the checkpoint again with another description."""
    from safetensors import safe_open

    with safe_open(adapters, framework="pt") as file:
        description = json.loads(file.metadata()["stgcma"])
    description["config"] |= changes.pop("config", {})
    description["backbone"] |= changes.pop("backbone", {})
    text = json.dumps(description)
    save_file(load_file(adapters), adapters, {"stgcma": text})
    (adapters.parent / "model.json").write_text(text)


def archive(members, kind=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind, compresslevel=9) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def attack(run, name):
    adapters = run / "checkpoints/best/adapters.safetensors"
    files = {
        "yaml-aliases": ("config.yaml", BOMB.encode()),
        "yaml-deep": ("config.yaml", deep(50_000)),
        "yaml-large": ("config.yaml", b"# " + b"x" * (1 << 20)),
        "yaml-number": ("config.yaml", b"preset: " + b"1" * 100_000),
        "deep-dataset": ("dataset.json", deep()),
        "deep-model": ("checkpoints/best/model.json", deep()),
        "long-header": ("checkpoints/best/adapters.safetensors", struct.pack("<Q", 1 << 40) + b"{}"),
        "deep-header": ("checkpoints/best/adapters.safetensors", struct.pack("<Q", 200_000) + deep()),
    }
    if name in files:
        file, content = files[name]
        (run / file).write_bytes(content)
    elif name == "wide":
        described(adapters, config={"width": 1 << 14, "heads": [1]})
    elif name == "wider":
        described(adapters, config={"width": 1 << 40})
    elif name == "many-classes":
        described(adapters, config={"classes": 9_999_999})
    elif name == "deepest":
        described(adapters, config={"depths": [10**9]})
    elif name == "elsewhere":
        described(adapters, backbone={"file": "../../../../../../etc/passwd"})
    elif name == "fetched":
        described(
            adapters,
            config={"timm_name": "hf-hub:someone/something"},
            backbone={"kind": "timm", "weights": "timm"},
        )


CHECKPOINTS = (
    "deep-model",
    "long-header",
    "deep-header",
    "wide",
    "wider",
    "many-classes",
    "deepest",
    "elsewhere",
    "fetched",
)
FOLDERS = ("yaml-aliases", "yaml-deep", "yaml-large", "yaml-number", "deep-dataset")


def test_runs_are_refused_in_little_memory_by_every_command(forks, run, earlier_shards, tmp_path):
    shutil.copytree(earlier_shards / "0.1/ave", tmp_path / "ave")
    commands = []
    for name in (*CHECKPOINTS, *FOLDERS):
        folder = tmp_path / name
        shutil.copytree(run, folder)
        attack(folder, name)
        commands.append([name, ("evaluate", folder, "--shards", tmp_path / "ave")])
        commands.append([name, ("predict", folder, tmp_path / "clip.mp4", "--device", "cpu")])
        if name.startswith("yaml"):
            commands.append([name, ("report", folder)])
    for name, file in (
        ("deep-result", "evaluation-test.json"),
        ("deep-about", "run.json"),
        ("deep-lines", "metrics.jsonl"),
    ):
        folder = tmp_path / name
        shutil.copytree(run, folder)
        (folder / file).write_bytes(deep())
        commands.append([name, ("report", folder)])
    results = run_commands(forks, commands, tmp_path, imports=MODULES)
    wrong = [
        result
        for result in results
        if result[2] != 2 or "Traceback" in result[4] or not result[4].startswith("stgcma: ")
    ]
    assert wrong == []
    assert not [result for result in results if "has no evaluation" in result[4]]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("long-header", f"its header claims {1 << 40} bytes"),
        ("wider", f"width: {1 << 40}, expected at most 16384"),
        ("wide", r"has shape \[.*\], expected \[.*16384"),
        ("deepest", "depths: .* expected at most 256"),
        ("elsewhere", "expected a path to a backbone.safetensors"),
        ("fetched", "timm_name: 'hf-hub:someone/something', expected the name of a model in timm"),
        ("deep-model", "its content is nested deeper than 32 levels"),
    ],
)
def test_a_checkpoint_that_claims_much_says_what(run, name, message):
    attack(run, name)
    with pytest.raises(InputError, match=message):
        load_model(run)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "an alias"),
        ("[" * 40 + "]" * 40, "nested deeper than 32 levels"),
        ("a: " + "1" * 500, "a number of more than 400 digits"),
        ("a: 2001-99-99", "month must be in 1..12"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ("x" * 300_000, "is larger than 262,144 bytes"),
    ],
)
def test_yaml_that_claims_much_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_yaml(text, where="config.yaml")


def test_archives_that_unpack_to_more_than_they_hold_are_refused(tmp_path):
    path = tmp_path / "state.pt"
    torch.save({"a": torch.zeros(4)}, path)
    with zipfile.ZipFile(path) as whole:
        members = [(member.filename, whole.read(member)) for member in whole.infolist()]
    for content, message in (
        (
            archive([*members, ("archive/data/9", bytes(1 << 28))], zipfile.ZIP_DEFLATED),
            "is packed, expected",
        ),
        (archive([*members, members[0]]), "is in it twice"),
        (path.read_bytes()[:-30], "not a whole zip archive"),
        (b"no archive", "not a whole zip archive"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            load_torch(path)


def test_a_member_that_claims_more_than_the_archive_is_refused(tmp_path):
    path = tmp_path / "state.pt"
    content = bytearray(archive([("archive/data/0", b"0123")]))
    at = content.index(b"PK\x01\x02")
    content[at + 20 : at + 28] = struct.pack("<II", 3 << 30, 3 << 30)
    path.write_bytes(content)
    with pytest.raises(InputError, match="its members would take 3221225472 bytes"):
        load_torch(path)


def test_a_tensor_of_few_values_that_claims_many_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(1).expand(1 << 30)}, path)
    with pytest.raises(InputError, match="has fewer values than that"):
        read_state_dict(path)
    with pytest.raises(InputError, match=r"a tensor is torch\.sparse_coo, expected plain ones"):
        check_tensors([{"a": torch.sparse_coo_tensor([[0]], [1.0], (1 << 40,))}], path)


@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": 1 << 20},
        {"window": 64},
        {"adapter_ratio": 1e6},
        {"vocabulary": 1 << 30},
        {"answers": 1 << 30},
        {"classes": 1 << 30, "task": "ave"},
        {"mask_channels": 1 << 30, "task": "avs"},
        {"depths": (1, 1, 1 << 20, 1)},
        {"backbone_seed": 1 << 70},
    ],
)
def test_sizes_of_no_model_are_refused(changes):
    fields = {"task": "avqa", "backbone": "swin", "width": 16, "depths": (1,) * 4, "heads": (2,) * 4}
    fields |= {"adapter_ratio": 0.25, "frames": 2, "audio_shape": (224, 224), "patch": 4}
    ModelConfig.from_dict(fields)
    with pytest.raises(InputError, match=next(iter(changes))):
        ModelConfig.from_dict(fields | changes)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("evaluation-test.json", {"score_name": "odd"}, "score_name is 'odd', expected 'accuracy'"),
        ("evaluation-test.json", {"shards": 3}, "shards: input should be a valid string, got 3"),
        ("evaluation-test.json", {"baselines": {"a": "b"}}, "baselines.a: .* a valid number, got 'b'"),
        ("evaluation-test.json", {"confusion": [[1, 2]]}, "confusion is not 1 × 1"),
        ("run.json", {"shards": None}, r"run\.json: shards: .* a valid string, got None"),
        ("run.json", {"backbone": {"kind": "random"}}, r"run\.json: sha256 is missing"),
        ("run.json", {"versions": ["torch"]}, r"run\.json: versions: .* a valid dictionary"),
        ("summary.json", {"seconds": "long"}, r"summary\.json: seconds: .* a valid number, got 'long'"),
        ("metrics.jsonl", {"epoch": 1, "loss": "low"}, r"metrics\.jsonl:1: loss: .* number, got 'low'"),
        ("metrics.jsonl", {"epoch": "one"}, r"metrics\.jsonl:1: epoch: .* a valid integer, got 'one'"),
    ],
)
def test_fields_that_a_page_needs_are_looked_at(run, file, content, message):
    found = {} if file == "metrics.jsonl" else json.loads((run / file).read_text())
    (run / file).write_text(json.dumps(found | content) + "\n")
    with pytest.raises(InputError, match=message):
        read_runs([run], "test")


def test_a_summary_of_other_fields_is_refused(run, earlier_shards):
    (run / "summary.json").write_text('{"score_name": "accuracy"}')
    with pytest.raises(InputError, match="is not the summary of a run"):
        train(earlier_shards / "0.1/ave", run, RunFolder(run).read_config(), resume=True)


def test_lines_without_end_are_refused(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"epoch": "' + b"x" * (2 << 20))
    with pytest.raises(InputError, match="more than 1,048,576 bytes a line"):
        RunFolder(tmp_path).records.read("metrics.jsonl")
