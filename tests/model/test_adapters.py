"""Every adapter on small families: the frozen model at first, half precision, recomputation, checkpoints."""

from __future__ import annotations

import pytest
import torch
from stgcma.errors import InputError
from stgcma.model import ADAPTERS, ModelConfig, build_from_config, load_model, preset_config, save_checkpoint
from stgcma.model.accounting import count_parameters
from stgcma.model.records import FRAME_MASK

METHODS = ADAPTERS.names
SMALL = {"rank": 2, "reduction": 4, "side_tokens": 3, "side_width": 8, "hyper_reduction": 4}
# Of each family, the methods that are quick cases: on others than CLIP those that depend most on the layout.
LAYOUTS = {
    "clip_fields": METHODS,
    "swin_fields": ("lavish", "side"),
    "vit_fields": ("lora",),
    # Norms after the attention and the MLP.
    "swinv2_fields": ("layernorm",),
    # Other layers: three projections in place of one, a gated MLP with a norm inside.
    "eva02_fields": (),
}


def cases(quick):
    """All methods on all families; those that `quick` has for a family run among the quick tests."""
    pairs = [(family, method) for family in LAYOUTS for method in METHODS]
    return pytest.mark.parametrize(
        ("family", "method"),
        [
            pytest.param(family, method, marks=() if method in quick.get(family, ()) else pytest.mark.slow)
            for family, method in pairs
        ],
    )


each = cases(LAYOUTS)

# Trained parameters besides head and final norm, with T = 10.
COUNTS = {
    "none": {"clip-b16": 0, "clip-l14": 0, "swin-b": 0, "swin-l": 0},
    "layernorm": {"clip-b16": 73_728, "clip-l14": 196_608, "swin-b": 96_256, "swin-l": 144_384},
    "lora": {"clip-b16": 5_308_416, "clip-l14": 14_155_776, "swin-b": 6_930_432, "swin-l": 10_395_648},
    "lavish": {"clip-b16": 3_843_168, "clip-l14": 13_394_112, "swin-b": 3_887_040, "swin-l": 8_447_808},
    "cola": {"clip-b16": 17_826_192, "clip-l14": 33_168_528, "swin-b": 17_513_616, "swin-l": 29_680_272},
    "side": {"clip-b16": 5_515_104, "clip-l14": 9_778_144, "swin-b": 4_329_568, "swin-l": 8_232_544},
}
BACKBONES = ["clip-b16", *(pytest.param(b, marks=pytest.mark.slow) for b in ("clip-l14", "swin-b", "swin-l"))]
SAME_COUNTS = {"swinv2-b": "swin-b", "swinv2-l": "swin-l"}
"""Backbones whose blocks have the widths and layers of another's."""


@pytest.fixture
def make(helpers):
    """`make(family, method, …)` is a small model with an untrained adapter."""

    def model(family, method, **options):
        depths = (1, 1, 2, 1) if family in ("swin_fields", "swinv2_fields") else (2,)
        if family == "eva02_fields":
            family, options = "vit_fields", {"timm_name": "eva02_base_patch16_clip_224.merged2b", **options}
        fields = getattr(helpers, family)(**{"adapter": method, "depths": depths, **SMALL, **options})
        torch.manual_seed(0)
        return build_from_config(ModelConfig.from_dict(fields))

    return model


@pytest.mark.parametrize("method", COUNTS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_counts(backbone, method):
    config = preset_config("ave-clip-b16-base", backbone=backbone, adapter=method)
    norm = 2 * config.feature_width if config.backbone.family == "clip" else 0
    assert count_parameters(config)["adapter"] == COUNTS[method][backbone] + norm


@pytest.mark.slow
@pytest.mark.parametrize("method", COUNTS)
@pytest.mark.parametrize("backbone", SAME_COUNTS)
def test_counts_of_blocks_of_the_same_widths(backbone, method):
    config = preset_config("ave-clip-b16-base", backbone=backbone, adapter=method)
    assert count_parameters(config)["adapter"] == COUNTS[method][SAME_COUNTS[backbone]]


@pytest.fixture(scope="module")
def encoded_frozen():
    """The outputs of frozen models, by family and modality, once they are computed."""
    return {}


@each
def test_an_untrained_model_is_the_frozen_one(make, helpers, encoded_frozen, family, method):
    for modality in ("av", "audio"):
        model = make(family, method, modality=modality).eval()
        inputs = helpers.draw_inputs(model.config)
        with torch.no_grad():
            if (family, modality) not in encoded_frozen:
                frozen = make(family, "none", modality=modality).eval()
                encoded_frozen[family, modality] = frozen.encoder(inputs)
            encoded, expected = model.encoder(inputs), encoded_frozen[family, modality]
        for m, pooled in encoded.pooled.items():
            assert torch.equal(pooled, expected.pooled[m]), (modality, m)
        assert all(map(torch.equal, encoded.stages, expected.stages))


@each
def test_everything_that_is_trained_gets_a_gradient(make, helpers, family, method):
    """Within three steps: at the start some gates and matrices are zero."""
    model = make(family, method).train()
    inputs = helpers.draw_inputs(model.config)
    groups = model.parameter_groups()
    optimizer = torch.optim.SGD([p for group in groups.values() for p in group.values()], lr=0.3)
    waiting = {name: p for group in groups.values() for name, p in group.items()}
    for _ in range(3):
        optimizer.zero_grad()
        model(**inputs)["logits"].square().mean().backward()
        waiting = {name: p for name, p in waiting.items() if p.grad is None or not p.grad.any()}
        optimizer.step()
    # A key's bias moves no softmax; a bias before batch normalisation moves nothing.
    assert [name for name in waiting if not name.endswith("norm_before.bias")] == []
    assert all(p.grad is None for p in model.frozen_tensors().values())


@each
def test_half_precision(make, helpers, family, method):
    model = helpers.teach(make(family, method)).eval()
    inputs = helpers.draw_inputs(model.config)
    with torch.no_grad():
        expected = model(**inputs)["logits"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(**inputs)["logits"]
    logits.float().square().mean().backward()
    assert (logits.float() - expected).norm() <= 0.1 * expected.norm()
    for group in model.parameter_groups().values():
        assert all(p.grad is not None and p.grad.isfinite().all() for p in group.values())


@cases(LAYOUTS | {"clip_fields": ("stg-cma", "lora", "cola"), "swin_fields": ("lavish",)})
def test_recomputation_changes_nothing(make, helpers, family, method):
    """Gradients are the same, and batch statistics are updated once."""
    results = []
    for checkpointing in (False, True):
        model = helpers.teach(make(family, method, checkpointing=checkpointing, drop_path=0.5)).train()
        torch.manual_seed(3)
        model(**helpers.draw_inputs(model.config))["logits"].sum().backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
        results.append((gradients, dict(model.encoder.trained_buffers())))
    for kept, recomputed in zip(*results, strict=True):
        assert all(torch.equal(tensor, recomputed[name]) for name, tensor in kept.items())
    if method == "lavish":
        counts = [b for name, b in results[1][1].items() if name.endswith("num_batches_tracked")]
        assert counts
        assert all(count == 1 for count in counts)


@cases({"clip_fields": ("stg-cma", "cola", "side"), "swin_fields": ("lavish",)})
def test_checkpoints_hold_parameters_and_buffers(make, helpers, family, method, tmp_path):
    model = helpers.teach(make(family, method)).train()
    inputs = helpers.draw_inputs(model.config)
    with torch.no_grad():
        model(**inputs)  # changes batch statistics
        expected = model.eval()(**inputs)["logits"]
    save_checkpoint(model, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.config == model.config
    assert loaded.config.adapter.method == method
    with torch.no_grad():
        assert torch.equal(loaded(**inputs)["logits"], expected)


@cases({"clip_fields": ("stg-cma", "cola", "side"), "swin_fields": ("lavish",)})
def test_padding_frames_change_nothing(make, helpers, family, method):
    """Neither in attention over time nor in batch statistics."""
    model = helpers.teach(make(family, method, frames=3)).train()
    inputs = helpers.draw_inputs(model.config)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    other = {name: x.clone() for name, x in inputs.items()}
    for x in other.values():
        x[0, 2] = 7.0
    pooled = []
    for given in (inputs, other):
        torch.manual_seed(0)
        with torch.no_grad():
            pooled.append(model.encoder({**given, FRAME_MASK: mask}).pooled)
    for modality, x in pooled[0].items():
        torch.testing.assert_close(x[mask], pooled[1][modality][mask], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", ["avs", "avqa"])
def test_the_side_network_reaches_the_maps_of_a_head(make, helpers, task):
    model = make("swin_fields", "side", task=task).train()
    inputs = helpers.draw_inputs(model.config, negative=True)
    for group in model.parameter_groups().values():
        for parameter in group.values():
            torch.nn.init.normal_(parameter, std=0.2)
    sum(x.square().mean() for x in model(**inputs).values()).backward()
    silent = [n for n, p in model.encoder.trained() if p.grad is None or not p.grad.any()]
    assert silent == []


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("lora", {"rank": 0}, "rank: 0, expected a positive integer"),
        ("lora", {"rank": 2000}, "rank: 2000"),
        ("lora", {"alpha": -1}, "alpha: -1, expected a number of at least 0"),
        ("lavish", {"latents": 2000}, "latents: 2000"),
        ("lavish", {"groups": 3}, "groups: 3, expected a divisor of the width 16"),
        ("lavish", {"reduction": 32, "groups": 1}, "groups: 1, expected a divisor"),
        ("side", {"side_tokens": 2000}, "side_tokens: 2000"),
        ("side", {"side_width": -2}, "side_width: -2, expected a positive"),
        ("side", {"side_layers": "3"}, "side_layers: '3', expected indices of blocks, from 0"),
        ("side", {"side_layers": [1, 1]}, r"side_layers: \[1, 1\], expected each block once"),
        ("side", {"side_layers": [0, 99]}, r"side_layers: 99, expected 0 to \d+"),
        ("side", {"backbone_precision": "fp8"}, "backbone_precision: 'fp8', expected one of auto"),
        ("cola", {"rank": 300}, "rank: 300"),
        ("cola", {"hyper_reduction": (4, 4)}, r"hyper_reduction: \(4, 4\), expected one number, or 1"),
        ("cola", {"hyper_reduction": 32}, "hyper_reduction: 32, expected at most the width 16"),
    ],
)
def test_options_are_checked(helpers, method, options, message):
    with pytest.raises(InputError, match=message):
        ModelConfig.from_dict(helpers.clip_fields(adapter=method, **options))


@pytest.mark.slow
@each
def test_compiles(make, helpers, family, method):
    model = helpers.teach(make(family, method)).train()
    inputs = helpers.draw_inputs(model.config)
    gradients = []
    for run in (torch.compile(model, backend="aot_eager"), model):
        model.zero_grad()
        torch.manual_seed(0)
        run(**inputs)["logits"].square().mean().backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
