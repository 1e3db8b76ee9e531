"""The sibling adapters give the numbers of their authors' modules; parity_adapters/README.md says whose.

The numbers are those of the folder that the environment variable PARITY_ADAPTERS names, or of
`parity_adapters`: every `*.json` in it, with its configuration.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from stgcma.model import ADAPTERS, ModelConfig
from stgcma.model.adapters.base import BlockSite
from stgcma.model.adapters.cola import CrossLowRank
from stgcma.model.adapters.lavish import LavishAdapter
from stgcma.model.adapters.lora import LowRank
from stgcma.model.adapters.side import SideNetwork
from stgcma.model.backbones.flat_block import FlatBlock, Span
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from .parity.parity_numbers import draw, draw_entry

FOLDER = Path(os.environ.get("PARITY_ADAPTERS") or Path(__file__).parent / "parity_adapters")
FILES = sorted(path.stem for path in FOLDER.glob("*.json"))


@dataclass
class Built:
    """A module of ours, the tensors of the file by their names, and the module's outputs for its inputs."""

    module: nn.Module
    names: dict[str, Tensor]
    run: Callable[[dict[str, Tensor]], dict[str, Tensor]]


def lora_layer(config: dict[str, Any], entries: dict[str, Any]) -> Built:
    """One frozen linear layer with its change."""
    d_out, d_in = entries["weight"]
    frozen = nn.Linear(d_in, d_out).requires_grad_(False)
    enabled = tuple(config.get("enable", (True,)))
    change = LowRank(d_in, d_out, rank=config["rank"], alpha=config["alpha"], enabled=enabled)
    names = {
        "weight": frozen.weight,
        "bias": frozen.bias,
        "lora_A": change.down,
        "lora_B": change.up,
    }
    module = nn.ModuleList([frozen, change])
    return Built(module, names, lambda inputs: {"output": frozen(inputs["x"]) + change(inputs["x"])})


def cola_names_of(change: CrossLowRank) -> dict[str, Tensor]:
    names = {
        "lora_Am": change.own.down,
        "lora_Bm": change.own.up,
        "lora_Ac": change.cross_down,
        "lora_Bc": change.cross_up,
        "lora_scaling_c": change.weight,
    }
    layers = {"fc1": "fc1", "norm": "norm_inner", "fc2": "fc2", "norm2": "norm"}
    for letter, core in zip("qkv", change.cores, strict=False):
        prefix = f"lora_mlps.{letter}" if len(change.cores) > 1 else "lora_mlp"
        for theirs, ours in layers.items():
            for leaf in ("weight", "bias"):
                names[f"{prefix}.{theirs}.{leaf}"] = core.get_submodule(ours).get_parameter(leaf)
    return names


def cola_layer(config: dict[str, Any], entries: dict[str, Any]) -> Built:
    """One frozen linear layer with its two changes."""
    d_out, d_in = entries["weight"]
    frozen = nn.Linear(d_in, d_out).requires_grad_(False)
    change = CrossLowRank(
        d_in,
        d_out,
        other=config["d_other"],
        rank=config["rank"],
        alpha=config["alpha"],
        inner=config["d_other"] // config["reduction"],
        projections=entries["lora_scaling_c"][0],
    )
    names = {"weight": frozen.weight, "bias": frozen.bias, **cola_names_of(change)}

    def run(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"output": frozen(inputs["x"]) + change(inputs["x"], inputs["other"])}

    return Built(nn.ModuleList([frozen, change]), names, run)


def lavish_adapter(config: dict[str, Any]) -> LavishAdapter:
    return LavishAdapter(
        config["width"],
        reduction=config["reduction"],
        groups=config["groups"],
        latents=config["latents"],
        batch_norm=config["batch_norm"],
        gate=config["gate"],
        norm_before=config["ln_before"],
        norm_after=config["ln_after"],
    )


LAVISH_NAMES = {
    "gate": "gate",
    "my_tokens": "latents",
    "gate_av": "exchange_gate",
    "down_sampler.weight": "down",
    "up_sampler.weight": "up",
    **{f"{t}.{leaf}": f"{o}.{leaf}" for t, o in (("ln_before", "norm_before"), ("ln_post", "norm_after"))
       for leaf in ("weight", "bias")},
    **{f"bn{i}.{leaf}": f"batch_norm{i}.{leaf}" for i in (1, 2)
       for leaf in ("weight", "bias", "running_mean", "running_var")},
}  # fmt: skip


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def lavish_module(config: dict[str, Any], entries: dict[str, Any]) -> Built:
    adapter = lavish_adapter(config)
    own = tensors_of(adapter)
    names = {name: own[LAVISH_NAMES[name]] for name in entries}
    return Built(adapter, names, lambda inputs: {"output": adapter(inputs["x"], inputs["other"])})


FROZEN = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")


def stack(method: str, config: dict[str, Any], entries: dict[str, Any], options: dict[str, Any]) -> Built:
    """Frozen CLIP blocks with adapters, both modalities; a frame is a time step of a clip of its own."""
    norm = partial(nn.LayerNorm, eps=config["ln_eps"])
    assert config["act"] == "quick_gelu"
    from timm.layers import QuickGELU

    width, heads = config["width"], config["heads"]
    blocks = nn.ModuleList(
        Block(width, heads, qkv_bias=True, norm_layer=norm, act_layer=QuickGELU)
        for _ in range(config["depth"])
    ).requires_grad_(False)
    model = ModelConfig.from_dict(
        {
            "task": "ave",
            "backbone": "clip",
            "width": width,
            "depths": (config["depth"],),
            "heads": (heads,),
            "patch": 32,
            "frames": 1,
            "classes": 2,
            "adapter": method,
            **options,
        }
    )
    build = ADAPTERS[method].block
    adapters = nn.ModuleList(
        build(model, BlockSite(0, i, width, heads, FlatBlock.layers(block))) for i, block in enumerate(blocks)
    )
    names = {
        f"blocks.{i}.{layer}.{leaf}": block.get_submodule(layer).get_parameter(leaf)
        for i, block in enumerate(blocks)
        for layer in FROZEN
        for leaf in ("weight", "bias")
    }

    def run(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        parts = [inputs["video"], inputs["audio"]]
        spans = [Span(len(part), 1, part.shape[1]) for part in parts]
        x = torch.cat([part.flatten(0, 1) for part in parts])
        for block, adapter in zip(blocks, adapters, strict=True):
            x = adapter(x, FlatBlock(block, spans))
        ends = torch.split(x, [span.rows for span in spans])
        return {m: end.view(part.shape) for m, end, part in zip(("video", "audio"), ends, parts, strict=True)}

    module = nn.ModuleList([blocks, adapters])
    for i, adapter in enumerate(adapters):
        names |= STACK_NAMES[method](i, adapter)
    return Built(module, {name: names[name] for name in entries}, run)


LONG = {"qkv": "attn.qkv", "proj": "attn.proj", "fc1": "mlp.fc1", "fc2": "mlp.fc2"}


def lora_names(i: int, adapter: Any) -> dict[str, Tensor]:
    return {
        f"{modality}.blocks.{i}.{LONG[name]}.lora_{letter}": getattr(change, attribute)
        for modality, changes in adapter.changes.items()
        for name, change in changes.items()
        for letter, attribute in (("A", "down"), ("B", "up"))
    }


def lavish_names(i: int, adapter: Any) -> dict[str, Tensor]:
    return {
        f"{short}_adapter_blocks_{place}.{i}.{theirs}": tensors_of(adapter.places[ours_place][modality])[ours]
        for modality, short in (("video", "vis"), ("audio", "audio"))
        for ours_place, place in (("attention", "p1"), ("mlp", "p2"))
        for theirs, ours in LAVISH_NAMES.items()
        if ours in tensors_of(adapter.places[ours_place][modality])
    }


def cola_names(i: int, adapter: Any) -> dict[str, Tensor]:
    return {
        f"{modality}.blocks.{i}.{LONG[layer]}.{name}": tensor
        for modality, changes in adapter.changes.items()
        for layer, change in changes.items()
        for name, tensor in cola_names_of(change).items()
    }


STACK_NAMES = {"lora": lora_names, "lavish": lavish_names, "cola": cola_names}
SIDE_NAMES = {
    "norm_cross": "norm_exchange",
    "gate_cross": "gate",
    "time_position_bias_table": "time_bias",
}


def side_module(config: dict[str, Any], entries: dict[str, Any]) -> Built:
    modalities = [m for m in ("video", "audio") if f"{m}.tokens" in entries]
    network = SideNetwork(
        modalities,
        config["tap_widths"],
        width=config["side_width"],
        tokens=config["queries"],
        frames=config["frames"],
        pooled={m: entries[f"{m}.up.weight"][0] for m in modalities if f"{m}.up.weight" in entries},
        maps=config["maps"],
        exchange=any("gate_cross" in name for name in entries),
    )
    own = tensors_of(network)

    def ours(name: str) -> Tensor:
        parts = [SIDE_NAMES.get(part, part) for part in name.split(".")]
        if parts[0] in modalities:  # video.taps.0.… here is taps.video.0.…
            parts[:2] = parts[1::-1]
        return own[".".join(parts)]

    def run(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        state = None
        for tap in range(len(config["tap_widths"])):
            state = network.read(tap, [inputs[f"{m}.{tap}"] for m in modalities], state, None)
        pooled = {m: inputs[f"{m}.pooled"] for m in modalities}
        maps = {name: inputs[f"map.{name}"] for name in config["maps"]}
        pooled, maps = network.finish(state, pooled, maps)
        return {**pooled, **{f"map.{name}": x for name, x in maps.items()}}

    return Built(network, {name: ours(name) for name in entries}, run)


def build(config: dict[str, Any], entries: dict[str, Any]) -> Built:
    """The module that a file is about, by its configuration."""
    if "tap_widths" in config:
        return side_module(config, entries)
    if "latents" in config:
        if not any("my_tokens" in name for name in entries) or any("conv_adapter" in n for n in entries):
            pytest.skip("the method is not built")
        options = {name: config[name] for name in ("reduction", "groups", "latents", "batch_norm")}
        return (
            stack("lavish", config, entries, options) if "depth" in config else lavish_module(config, entries)
        )
    if "reduction" in config:
        options = {"rank": config["rank"], "alpha": config["alpha"], "hyper_reduction": config["reduction"]}
        return stack("cola", config, entries, options) if "depth" in config else cola_layer(config, entries)
    options = {name: config[name] for name in ("rank", "alpha")}
    return stack("lora", config, entries, options) if "depth" in config else lora_layer(config, entries)


def passes(numbers: dict[str, Any]) -> list[str]:
    """`eval`, and `train` where the file has batch statistics."""
    return ["eval", "train"] if "eval" in numbers["gradient_norms"] else ["eval"]


@contextmanager
def default_dtype(dtype):
    """New tensors are in `dtype`."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", FILES)
def test_parity(name, dtype):
    numbers = json.loads((FOLDER / f"{name}.json").read_text())
    expected = load_file(FOLDER / f"{name}.safetensors")
    with default_dtype(dtype):
        built = build(numbers["config"], numbers["entries"])
    trained = {entry: built.names[entry] for entry in numbers["trained"]}
    assert {id(t) for t in trained.values()} == {id(p) for p in built.module.parameters() if p.requires_grad}
    assert sum(p.numel() for p in trained.values()) == numbers["trained_parameters"]
    with torch.no_grad():
        for entry, shape in numbers["entries"].items():
            built.names[entry].copy_(draw_entry(entry, shape, dtype).view(built.names[entry].shape))
    tolerance = 1e-5 if dtype == torch.float32 else 1e-10
    for mode in passes(numbers):
        built.module.train(mode == "train").zero_grad()
        inputs = {
            key: draw("input." + key, shape).to(dtype).requires_grad_()
            for key, shape in numbers["inputs"].items()
        }
        outputs = built.run(inputs)
        total = torch.zeros((), dtype=dtype)
        for key, output in outputs.items():
            wanted = expected[key if mode == "eval" else f"{key}_train"].to(dtype)
            # In the file, outputs are in float32.
            close = max(tolerance, 1e-7)
            assert (output - wanted).norm() <= close * wanted.norm(), (mode, key)
            total = total + (output * draw("probe." + key, output.shape).to(dtype)).sum()
        total.backward()
        compare(numbers, mode, trained, inputs, tolerance)
    for entry in (entry for entry in expected if entry.startswith("after.")):
        close = max(tolerance, 1e-7)
        found = built.names[entry.removeprefix("after.")]
        assert (found - expected[entry]).norm() <= close * expected[entry].norm(), entry


def compare(numbers, mode, trained, inputs, tolerance):
    """Gradients: each within 1e-3 of itself and 1e-6 of all in float32, 1e-10 in float64."""

    def of(key):
        both = "eval" in numbers["gradient_norms"]
        return numbers[key][mode] if both else numbers[key]

    norms = {entry: float(p.grad.norm()) for entry, p in trained.items()}
    total = of("total_gradient_norm")
    assert math.hypot(*norms.values()) == pytest.approx(total, rel=tolerance)
    own, whole = (1e-3, 1e-6) if tolerance == 1e-5 else (1e-10, 1e-10)
    zero = numbers.get("zero_gradient_in_train", []) if mode == "train" else []
    for entry, norm in norms.items():
        wanted = 0.0 if entry in zero else of("gradient_norms")[entry]
        assert abs(norm - wanted) <= own * wanted + whole * total, (mode, entry)
    for key, wanted in of("input_gradient_norms").items():
        norm = float(inputs[key].grad.norm())
        assert abs(norm - wanted) <= own * wanted + whole * total, (mode, key)
