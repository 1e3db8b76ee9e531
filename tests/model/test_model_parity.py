"""The outputs and gradients of the authors' release, to the last digits that float32 keeps."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from stgcma.model import ModelConfig, import_reference, load_model
from stgcma.model.network import STGCMA
from stgcma.model.reference.importing import reference_names
from stgcma.model.weights import materialise

SMALL = Path(__file__).parent / "parity" / "small.json"

# file: relative tolerance of a single gradient norm. AVS: the signs of a few ReLU inputs near zero differ
# between any two orders of summation.
FILES = {
    "ave_clip_fusion": 1e-3,
    "ave_clip_audio_only": 1e-3,
    "ave_swin_fusion": 1e-3,
    "ave_swin_video_only": 1e-3,
    "avs_swin_fusion": 5e-2,
    "avqa_swin_fusion": 1e-3,
}
# As wide as Swin-B and Swin-L: up to three minutes on one core. Small models cover the same lines.
LARGE = ("ave_swin_fusion", "avs_swin_fusion", "avqa_swin_fusion")
SLOW = (pytest.mark.slow, pytest.mark.timeout(1200))


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW if name in LARGE else ()) for name in FILES])
def test_parity(helpers, name, tmp_path):
    parity = helpers.load_parity(name)
    file = tmp_path / "published.pth"
    torch.save({f"module.{entry}": tensor for entry, tensor in parity.state_dict().items()}, file)
    heads = parity.config["heads"] if parity.config["backbone"] == "clip" else None
    config = import_reference(file, tmp_path / "imported", heads=heads, modality=parity.modality)
    assert config.frames == parity.config["frames"]
    names = reference_names(config)
    model = load_model(tmp_path / "imported")

    outputs = model(**parity.inputs)
    assert set(outputs) == set(parity.outputs)
    loss = torch.zeros(())
    for key, expected in parity.outputs.items():
        output = outputs[key].reshape(expected["shape"])
        sample = output.detach().flatten()[:: expected["stride"]]
        assert (sample - parity.samples[key]).norm() <= 2e-5 * parity.samples[key].norm()
        assert output.detach().norm().item() == pytest.approx(expected["norm"], rel=2e-5)
        loss = loss + (output * helpers.draw("probe." + key, expected["shape"])).sum()
    loss.backward()

    theirs_of = {ours: theirs for theirs, ours in names.items()}
    trained = {theirs_of[n]: p for group in model.parameter_groups().values() for n, p in group.items()}
    assert set(trained) == set(parity.grad_norm)
    for entry, parameter in trained.items():
        assert parameter.grad.norm().item() == pytest.approx(parity.grad_norm[entry], rel=FILES[name]), entry
    total = math.hypot(*(p.grad.norm().item() for p in trained.values()))
    assert total == pytest.approx(math.hypot(*parity.grad_norm.values()), rel=1e-3)

    unread = sum(math.prod(parity.entries[entry]) for entry in parity.unused_trainable)
    assert sum(p.numel() for p in trained.values()) + unread == parity.trainable_parameters


def measured(helpers, task):
    """Norm and some values of every output, and every gradient's norm, of a small model of `task`."""
    config = ModelConfig.from_dict(helpers.swin_fields(task=task))
    model = STGCMA(config, backbone_device="meta")
    materialise(model)
    own = {**model.frozen_tensors(), **model.trained_tensors()}
    names = reference_names(config)
    assert {name for name in own if not name.endswith("num_batches_tracked")} == set(names.values())
    with torch.no_grad():
        for theirs, ours in names.items():
            own[ours].copy_(helpers.draw_entry(theirs, own[ours].shape))
    model.eval()
    outputs = model(**helpers.draw_inputs(config, negative=task == "avqa"))
    sum(
        (output * helpers.draw("probe." + key, output.shape)).sum() for key, output in outputs.items()
    ).backward()
    theirs_of = {ours: theirs for theirs, ours in names.items()}
    trained = {theirs_of[n]: p for group in model.parameter_groups().values() for n, p in group.items()}
    return {
        "outputs": {
            key: [output.norm().item(), *output.detach().flatten()[:: output.numel() // 8 + 1].tolist()]
            for key, output in sorted(outputs.items())
        },
        "gradients": {entry: parameter.grad.norm().item() for entry, parameter in sorted(trained.items())},
    }


@pytest.mark.parametrize("task", ["ave", "avs", "avqa"])
def test_small_models_keep_their_numbers(helpers, task):
    """Those that this model had when it agreed with the release on the large configurations."""
    expected, found = json.loads(SMALL.read_text())[task], measured(helpers, task)
    assert found["outputs"].keys() == expected["outputs"].keys()
    for key, values in expected["outputs"].items():
        assert found["outputs"][key] == pytest.approx(values, rel=1e-4, abs=1e-5), key
    assert found["gradients"] == pytest.approx(expected["gradients"], rel=1e-3, abs=1e-6)
