"""`stgcma presets`, `model` and `import-reference`."""

import functools
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def test_presets_are_listed_with_where_they_differ_from_the_paper(stgcma, monkeypatch):
    from stgcma.model import accounting

    # Counting takes 0.3 s a preset; tests of the model and of its page compare the numbers.
    counts = {"frozen": 7_000_000, "adapter": 2_000_000, "head": 1_000_000}
    monkeypatch.setattr(accounting, "count_parameters", lambda _: counts)
    result = stgcma("presets")
    assert result.status == 0
    (demo,) = (line.split() for line in result.stdout.splitlines() if line.split()[:1] == ["ave-demo"])
    assert demo[-2:] == ["3,000,000", "10,000,000"]
    for name in ("avs-swin-b", "avs-swin-l"):
        line = f"{name}: loss.mask is iou+bce (Table 9 says IoU; the release trains with bce"
        assert line in result.stdout


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "preset", ["ave-demo", pytest.param("avs-demo", marks=SLOW), pytest.param("avqa-demo", marks=SLOW)]
)
def test_a_model_is_accounted_for(stgcma, preset, monkeypatch):
    from stgcma import model

    monkeypatch.setattr(model, "describe", functools.cache(model.describe))  # an account takes seconds
    result = stgcma("model", preset, "--json")
    assert result.status == 0
    summary = json.loads(result.stdout)
    assert summary["trainable"] == summary["parameters"]["adapter"] + summary["parameters"]["head"]
    assert 0 < summary["forward_bytes"] < summary["training_bytes"]
    assert summary["forward_gflops"] > 0
    assert f"{summary['trainable']:,}" in stgcma("model", preset).stdout


def test_a_file_that_is_no_reference_checkpoint_is_named(stgcma, tmp_path):
    (tmp_path / "notes.pth").write_text("hello")
    result = stgcma("import-reference", tmp_path / "notes.pth", tmp_path / "out")
    assert result.status == 2
    assert "notes.pth" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_reference_checkpoint_becomes_one_of_ours(stgcma, tmp_path):
    import torch
    from stgcma.model import load_model

    numbers = json.loads((ROOT / "tests/model/parity/ave_clip_fusion.json").read_text())
    entries = {f"module.{name}": torch.ones(shape) for name, shape in numbers["state_dict"].items()}
    torch.save(entries, tmp_path / "file.pth")
    options = ("--heads", 2, "--modality", "av-nofusion")
    result = stgcma("import-reference", tmp_path / "file.pth", tmp_path / "out", *options)
    assert (result.status, result.stderr) == (0, "")
    assert result.stdout == f"{tmp_path / 'out'}: ave, clip 64 wide, av-nofusion, 10 frames\n"
    config = load_model(tmp_path / "out").config
    read = (config.backbone.heads, config.modality, config.backbone.depths, config.head.classes)
    assert read == ((2,), "av-nofusion", (3,), 29)
