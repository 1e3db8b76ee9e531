"""Reading a frozen block in an adapter: the numbers of autograd, and nothing by-passed."""

from __future__ import annotations

import pytest
import torch
from stgcma.model import ModelConfig, build_from_config
from stgcma.model.adapters import base
from stgcma.model.adapters.base import FrozenBlock
from stgcma.model.adapters.bottleneck import Adapter
from stgcma.model.adapters.features import Features, LinearOutput, MlpOutput, mlp_with_features
from stgcma.model.adapters.frozen_read import read_frozen
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


@pytest.mark.parametrize("family", ["clip_fields", "vit_fields", "swin_fields", "swinv2_fields"])
def test_frames_pass_a_block_a_few_at_a_time(helpers, monkeypatch, family):
    fields = getattr(helpers, family)(adapter="none", depths=(1,) * 4 if family.startswith("swin") else (2,))
    model = build_from_config(ModelConfig.from_dict(fields)).eval()
    inputs, seen = helpers.draw_inputs(model.config), []
    with torch.no_grad():
        whole = model.encoder(inputs).pooled
        attend = FrozenBlock.run_attention
        monkeypatch.setattr(base, "_SLICE_VALUES", {"cpu": 600})
        monkeypatch.setattr(
            FrozenBlock, "run_attention", lambda block, x: (seen.append(x.numel()), attend(block, x))[1]
        )
        sliced = model.encoder(inputs).pooled
    assert len(seen) > 2 * sum(fields["depths"])
    for modality, pooled in whole.items():
        torch.testing.assert_close(sliced[modality], pooled, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "close", "kept"),
    [(torch.float64, 1e-12, torch.float64), (torch.float32, 1e-3, torch.float16)],
)
def test_frozen_tokens_that_are_read_are_kept_in_half_precision(dtype, close, kept):
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(2, 7, 6, generator=generator, dtype=torch.float64)
    query = torch.randn(2, 3, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    n = nn.functional.layer_norm(x, (6,))
    expected = torch.softmax(query @ n.mT / 6**0.5, -1) @ n
    probe = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    (wanted,) = torch.autograd.grad((expected * probe).sum(), query)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (saved.append(t), t)[1], lambda t: t):
        read = read_frozen(query.to(dtype), x.to(dtype), dtype)
    torch.testing.assert_close(read.double(), expected, rtol=1e-5, atol=1e-5)
    (gradient,) = torch.autograd.grad((read * probe.to(dtype)).sum(), query)
    assert (gradient - wanted).norm() < close * wanted.norm()
    assert [tensor.dtype for tensor in saved if tensor.shape[-2:] == (7, 6)] == [kept]


def test_the_backward_pass_builds_no_graph_of_its_own(helpers, monkeypatch):
    model = helpers.teach(build_from_config(ModelConfig.from_dict(helpers.clip_fields()))).train()
    loss = model(**helpers.draw_inputs(model.config))["logits"].sum()
    monkeypatch.setattr(torch, "enable_grad", None)
    monkeypatch.setattr(torch.autograd, "grad", None)
    loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
