"""Reading a frozen block in an adapter: the numbers of autograd, and nothing by-passed."""

from __future__ import annotations

import pytest
import torch
from stgcma.model import ModelConfig, build_from_config
from stgcma.model.adapters.bottleneck import Adapter
from stgcma.model.adapters.features import Features, LinearOutput, MlpOutput, mlp_with_features
from timm.layers import GELU, GELUTanh, Mlp, QuickGELU
from torch import nn


@pytest.mark.parametrize("activation", [QuickGELU, GELU, nn.GELU])
def test_the_written_out_gradient_is_autograds(activation):
    mlp = Mlp(6, 24, act_layer=activation).double()
    layer = nn.Linear(6, 3).double()
    x = torch.randn(7, 6, dtype=torch.float64, requires_grad=True)
    probes = torch.randn(7, 6, dtype=torch.float64), torch.randn(7, 3, dtype=torch.float64)
    mlp.requires_grad_(False)
    gradients = []
    for written_out in (True, False):
        if written_out:
            z, parts = mlp_with_features(x, mlp, [5, 2])
            assert all(isinstance(part, MlpOutput) for part in parts)
            u = torch.cat([part.through(layer) for part in parts])
        else:
            z = mlp(x)
            u = layer(z)
        total = (z * probes[0]).sum() + (torch.tanh(u) * probes[1]).sum()
        gradients.append(torch.autograd.grad(total, [x, layer.weight, layer.bias]))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_an_unknown_mlp_is_left_to_autograd():
    for mlp in (Mlp(4, 8, act_layer=GELUTanh), Mlp(4, 8, norm_layer=nn.LayerNorm), Mlp(4, 8, bias=False)):
        z, parts = mlp_with_features(torch.ones(3, 4), mlp, [1, 2])
        assert [type(part) for part in parts] == [Features, Features]
        assert torch.equal(torch.cat([part.value for part in parts]), z)


def test_features_have_the_value_that_they_project():
    frozen, trained, mlp = nn.Linear(4, 4), nn.Linear(4, 2), Mlp(4, 8)
    x = torch.randn(6, 4)
    (of_mlp,) = mlp_with_features(x, mlp, [6])[1]
    for features in (Features(x), LinearOutput(x, frozen), of_mlp):
        folded = features.in_shape(2, 3)
        assert folded.value.shape == (2, 3, 4)
        torch.testing.assert_close(folded.through(trained), trained(folded.value))


def test_an_override_of_down_acts_in_every_step(helpers, monkeypatch):
    """Temporal, spatial and global step, each with one adapter of each modality."""
    model = helpers.teach(build_from_config(ModelConfig.from_dict(helpers.clip_fields(depths=(1,))))).train()
    adapters = [module for module in model.modules() if isinstance(module, Adapter)]
    inputs = helpers.draw_inputs(model.config)
    called = []

    def nothing(adapter, features):
        called.append(adapter)
        return 0 * adapter.fc1(features.value)

    with monkeypatch.context() as patched:
        patched.setattr(Adapter, "down", nothing)
        for adapter in adapters:
            nn.init.zeros_(adapter.fc2.bias)
        without = model.encoder(inputs).pooled
    assert sorted(map(id, called)) == sorted(map(id, adapters))
    assert len(adapters) == 6
    changed = model.encoder(inputs).pooled
    for adapter in adapters:
        nn.init.zeros_(adapter.fc2.weight)
    for modality, frozen in model.encoder(inputs).pooled.items():
        torch.testing.assert_close(without[modality], frozen)
        assert not torch.allclose(changed[modality], frozen)


def test_the_backward_pass_builds_no_graph_of_its_own(helpers, monkeypatch):
    model = helpers.teach(build_from_config(ModelConfig.from_dict(helpers.clip_fields()))).train()
    loss = model(**helpers.draw_inputs(model.config))["logits"].sum()
    monkeypatch.setattr(torch, "enable_grad", None)
    monkeypatch.setattr(torch.autograd, "grad", None)
    loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
