"""The outputs and gradients of the authors' release, to the last digits that float32 keeps."""

from __future__ import annotations

import math

import pytest
import torch
from stgcma.model import import_reference, load_model
from stgcma.model.reference_names import reference_names

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


@pytest.mark.parametrize("name", FILES)
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
