"""The savings are exact: recomputation, batching and fused attention change no number that matters."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from stgcma.model import ModelConfig, build_from_config
from stgcma.model.adapters import ADAPTERS
from stgcma.model.adapters.exchange import cross_attend
from stgcma.model.backbones.encoder import Encoder
from stgcma.model.heads import HEADS
from stgcma.model.heads.avs import Tpavi
from torch.nn.attention import SDPBackend, sdpa_kernel


@pytest.fixture(scope="module")
def naive():
    path = Path(__file__).parents[2] / "benchmarks/naive.py"
    spec = importlib.util.spec_from_file_location("stgcma_benchmark_naive", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CASES = {
    "clip": ("clip_fields", {}),
    "clip-nofusion": ("clip_fields", {"modality": "av-nofusion"}),
    "clip-audio": ("clip_fields", {"modality": "audio"}),
    "clip-one-step": ("clip_fields", {"frames": 1}),
    "clip-odd-audio": ("clip_fields", {"patch": 14, "image_size": 42, "audio_shape": (45, 31)}),
    "clip-no-temporal": ("clip_fields", {"temporal": False}),
    "clip-no-spatial": ("clip_fields", {"spatial": False}),
    "clip-no-global": ("clip_fields", {"global_": False}),
    "swin": ("swin_fields", {}),
    "swin-nofusion": ("swin_fields", {"modality": "av-nofusion"}),
    "swin-video": ("swin_fields", {"modality": "video"}),
    "swin-audio": ("swin_fields", {"modality": "audio"}),
    "swin-one-step": ("swin_fields", {"frames": 1}),
    "swin-no-temporal": ("swin_fields", {"temporal": False}),
    "swin-no-spatial": ("swin_fields", {"spatial": False}),
    "swin-no-global": ("swin_fields", {"global_": False}),
    "swinv2": ("swinv2_fields", {}),
    "swinv2-video": ("swinv2_fields", {"modality": "video"}),
    "swinv2-wide-window": ("swinv2_fields", {"window": 4, "timm_name": "swinv2_base_window12to16_192to256"}),
    "avs": ("swin_fields", {"task": "avs"}),
    "avqa": ("swin_fields", {"task": "avqa"}),
}


@pytest.mark.parametrize("case", CASES)
def test_equals_the_naive_formulation(helpers, naive, case):
    family, overrides = CASES[case]
    config = ModelConfig.from_dict(getattr(helpers, family)(**overrides))
    model = helpers.teach(build_from_config(config)).eval()
    inputs = helpers.draw_inputs(config, 2, negative=True)
    results = [model(**inputs), naive.naive_forward(model, **inputs)]
    assert set(results[0]) == set(results[1])
    for name, output in results[0].items():
        assert (output - results[1][name]).norm() <= 1e-5 * results[1][name].norm(), name
    gradients = []
    for outputs in results:
        model.zero_grad()
        sum(x.square().mean() for x in outputs.values()).backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert set(gradients[0]) == set(gradients[1])
    for name, gradient in gradients[0].items():
        scale = gradients[1][name].norm() + 1e-6
        assert (gradient - gradients[1][name]).norm() <= 2e-3 * scale, name


def test_tpavi_is_the_quadratic_one(naive):
    torch.manual_seed(0)
    layer = Tpavi(256).double().eval()
    torch.nn.init.normal_(layer.batch_norm.weight)
    x = torch.randn(2, 3, 4, 5, 256, dtype=torch.float64)
    audio = torch.randn(2, 3, 128, dtype=torch.float64)
    torch.testing.assert_close(layer(x, audio), naive.quadratic_tpavi(layer, x, audio))


@pytest.mark.parametrize("family", ["clip_fields", "swin_fields", "swinv2_fields"])
def test_checkpointing_is_exact_with_drop_path(helpers, family):
    fields = getattr(helpers, family)(drop_path=0.5, depths=(4,) if family == "clip_fields" else (2, 2, 2, 2))
    results = []
    for checkpointing in (False, True):
        model = build_from_config(ModelConfig.from_dict({**fields, "checkpointing": checkpointing}))
        adapters, head = model.parameter_groups().values()
        for index, parameter in enumerate([*adapters.values(), *head.values()]):
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(index))
        model.train()
        torch.manual_seed(3)
        model(**helpers.draw_inputs(model.config))["logits"].sum().backward()
        results.append({n: p.grad for n, p in adapters.items()})
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


@pytest.mark.parametrize("family", ["swin_fields", "swinv2_fields"])
def test_the_first_stage_is_computed_again_exactly(helpers, family, monkeypatch):
    """Without `checkpointing`, too; against a model that keeps all activations."""
    fields = getattr(helpers, family)(drop_path=0.5, depths=(2, 1, 1, 1))
    run_block = Encoder.run_block
    runs, results = [], []
    for wide in (True, False):
        torch.manual_seed(0)
        model = helpers.teach(build_from_config(ModelConfig.from_dict(fields))).train()
        for stage in model.encoder.adapters:
            for adapter in stage:
                adapter.register_forward_pre_hook(lambda module, _: runs.append(module))
        with monkeypatch.context() as patched:
            if not wide:
                patched.setattr(Encoder, "run_block", lambda *args, **_: run_block(*args))
            torch.manual_seed(3)
            model(**helpers.draw_inputs(model.config))["logits"].sum().backward()
        results.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
        runs.append(None)
    assert [runs.index(None), len(runs) - runs.index(None) - 2] == [7, 5]  # two blocks again, and none
    assert results[0].keys() == results[1].keys()
    assert all(torch.equal(gradient, results[1][name]) for name, gradient in results[0].items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backend", [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH])
def test_unscaled_logits_do_not_overflow_in_half_precision(dtype, backend):
    torch.manual_seed(0)
    query, other = 60 * torch.randn(2, 9, 64), 60 * torch.randn(2, 7, 64)
    logits = query @ other.transpose(1, 2)
    assert logits.abs().max() > torch.finfo(torch.float16).max
    query, other = query.to(dtype).requires_grad_(), other.to(dtype).requires_grad_()
    with sdpa_kernel(backend):
        attended = cross_attend(query, other)
    expected = cross_attend(query.double(), other.double())
    assert attended.isfinite().all()
    torch.testing.assert_close(attended.double(), expected, rtol=0.02, atol=1.0)
    attended.sum().backward()
    assert query.grad.isfinite().all()
    assert other.grad.isfinite().all()


# A CPU takes minutes over AVS' convolutions in float16.
HALVES = [
    pytest.param(case, dtype, marks=pytest.mark.slow if (case, dtype) == ("avs", torch.float16) else ())
    for case in ("clip", "swin", "swin-video", "avs", "avqa")
    for dtype in (torch.bfloat16, torch.float16)
] + [("swinv2", torch.bfloat16), pytest.param("swinv2", torch.float16, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("case", "dtype"), HALVES)
def test_autocast_trains_and_stays_close(helpers, case, dtype):
    family, overrides = CASES[case]
    config = ModelConfig.from_dict(getattr(helpers, family)(**overrides))
    model = helpers.teach(build_from_config(config)).eval()
    inputs = helpers.draw_inputs(config, 1, negative=True)
    expected = model(**inputs)
    with torch.autocast("cpu", dtype=dtype):
        outputs = model(**inputs)
        loss = sum(x.float().square().mean() for x in outputs.values())
    loss.backward()
    for name, x in outputs.items():
        assert (x.float() - expected[name]).norm() <= 0.1 * expected[name].norm(), name
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.slow
def test_compiles_in_one_graph(helpers):
    model = helpers.teach(build_from_config(ModelConfig.from_dict(helpers.clip_fields()))).eval()
    inputs = helpers.draw_inputs(model.config)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(**inputs)["logits"], model(**inputs)["logits"])


def test_is_traced_as_one_graph(helpers):
    fields = helpers.clip_fields(depths=(1,))
    model = helpers.teach(build_from_config(ModelConfig.from_dict(fields))).eval()
    inputs = helpers.draw_inputs(model.config)
    traced = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(traced(**inputs)["logits"], model(**inputs)["logits"])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("task", list(HEADS))
@torch._dynamo.config.patch(allow_rnn=True)  # as in training; monkeypatch removes the setting afterwards
def test_every_head_is_one_graph_in_training(helpers, task):
    model = build_from_config(
        ModelConfig.from_dict(helpers.swin_fields(task=task, depths=(1, 1, 1, 1)))
    ).train()
    inputs = helpers.draw_inputs(model.config, negative=True)
    outputs = []
    for run in (torch.compile(model, fullgraph=True, backend="eager"), model):
        torch.manual_seed(0)
        outputs.append(run(**inputs))
    for name, output in outputs[0].items():
        torch.testing.assert_close(output, outputs[1][name], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("adapter", list(ADAPTERS))
def test_every_adapter_is_one_graph_in_training(helpers, adapter):
    options = {"depths": (1,), "drop_path": 0.0, "adapter": adapter}
    model = helpers.teach(build_from_config(ModelConfig.from_dict(helpers.clip_fields(**options)))).train()
    inputs = helpers.draw_inputs(model.config)
    logits = []
    for run in (torch.compile(model, fullgraph=True, backend="eager"), model):
        torch.manual_seed(0)
        logits.append(run(**inputs)["logits"])
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["clip_fields", "swin_fields", "swinv2_fields"])
def test_compiles_in_one_graph_with_gradients(helpers, family):
    fields = getattr(helpers, family)(**({"depths": (1,)} if family == "clip_fields" else {}))
    model = helpers.teach(build_from_config(ModelConfig.from_dict(fields))).eval()
    inputs = helpers.draw_inputs(model.config)
    gradients = []
    for run in (torch.compile(model, fullgraph=True, backend="aot_eager"), model):
        model.zero_grad()
        run(**inputs)["logits"].square().mean().backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert set(gradients[0]) == set(gradients[1])
    for name, gradient in gradients[0].items():
        assert (gradient - gradients[1][name]).norm() <= 2e-3 * gradients[1][name].norm() + 1e-9, name


@pytest.mark.slow
def test_compiles_with_the_real_compiler(helpers):
    model = helpers.teach(build_from_config(ModelConfig.from_dict(helpers.clip_fields()))).eval()
    inputs = helpers.draw_inputs(model.config)
    with torch.no_grad():
        compiled = torch.compile(model, fullgraph=True)(**inputs)["logits"]
        torch.testing.assert_close(compiled, model(**inputs)["logits"], rtol=1e-4, atol=1e-5)
