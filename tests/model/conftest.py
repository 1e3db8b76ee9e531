"""The parity numbers, and small configurations that a test can afford."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

PARITY = Path(__file__).parent / "parity"
MODES = {"fusion": "av", "multimodal": "av-nofusion", "videoonly": "video", "audioonly": "audio"}


def draw(name: str, shape) -> Tensor:
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return torch.from_numpy(generator.standard_normal(tuple(shape)).astype(np.float32))


def draw_entry(name: str, shape) -> Tensor:
    """One checkpoint entry; the rules are in parity/README.md."""
    x, leaf = draw(name, shape), name.rsplit(".", 1)[-1]
    if leaf.startswith("gate_"):
        return 0.5 + 0.1 * x
    if "position_bias_table" in leaf or "embedding" in leaf:
        return 0.2 * x
    if leaf == "running_var":
        return 1 + 0.1 * x.abs()
    if len(shape) > 1:
        return x / math.sqrt(math.prod(shape[1:]))
    return 1 + 0.1 * x if leaf == "weight" else 0.1 * x


@dataclass(frozen=True)
class Parity:
    """One file of parity numbers."""

    config: dict[str, Any]
    entries: dict[str, list[int]]
    inputs: dict[str, Tensor]
    outputs: dict[str, dict[str, Any]]
    samples: dict[str, Tensor]
    grad_norm: dict[str, float]
    trainable_parameters: int
    unused_trainable: list[str]

    @property
    def modality(self) -> str:
        return MODES[self.config["mode"]]

    def state_dict(self) -> dict[str, Tensor]:
        return {name: draw_entry(name, shape) for name, shape in self.entries.items()}


def load_parity(name: str) -> Parity:
    numbers = json.loads((PARITY / f"{name}.json").read_text())
    inputs = {}
    for key, shape in numbers["inputs"].items():
        x = draw("input." + key, shape)
        if key == "question":
            x = (x.abs() * 1000).long() % 93
        elif key == "video" and numbers["config"]["task"] == "ave":
            x = x.transpose(1, 2)  # the release's layout is [B, 3, T, H, W]
        inputs[key] = x
    modality = MODES[numbers["config"]["mode"]]
    if modality in inputs:
        inputs = {modality: inputs[modality]}
    return Parity(
        config=numbers["config"],
        entries=numbers["state_dict"],
        inputs=inputs,
        outputs=numbers["outputs"],
        samples=load_file(PARITY / f"{name}.safetensors"),
        grad_norm=numbers["grad_norm"],
        trainable_parameters=numbers["trainable_parameters"],
        unused_trainable=numbers["unused_trainable"],
    )


def clip_fields(**overrides) -> dict[str, Any]:
    """The smallest CLIP that still has every part."""
    fields = {
        "task": "ave",
        "backbone": "clip",
        "width": 16,
        "depths": (2,),
        "heads": (2,),
        "patch": 32,
        "image_size": 64,
        "audio_shape": (70, 128),
        "adapter_ratio": 0.25,
        "frames": 3,
        "classes": 5,
    }
    return {**fields, **overrides}


def swin_fields(**overrides) -> dict[str, Any]:
    """A Swin of grids 16, 8, 4 and 2 with windows of 2, shifted but in the last stage, which is one."""
    fields = {
        "task": "ave",
        "backbone": "swin",
        "width": 8,
        "depths": (2, 2, 2, 2),
        "heads": (1, 2, 2, 4),
        "patch": 1,
        "window": 2,
        "image_size": 16,
        "audio_shape": (16, 16),
        "adapter_ratio": 0.25,
        "frames": 2,
        "classes": 5,
        "vocabulary": 11,
        "answers": 6,
    }
    return {**fields, **overrides}


def draw_inputs(config, batch: int = 2, *, negative: bool = False, seed: int = 0) -> dict[str, Tensor]:
    """Random inputs of the right shapes."""
    generator = torch.Generator().manual_seed(seed)
    inputs = {}
    for name, shape in config.input_shapes(batch).items():
        if name == "question":
            inputs[name] = torch.randint(0, config.vocabulary, shape, generator=generator)
        elif name != "negative" or negative:
            inputs[name] = torch.randn(shape, generator=generator)
    return inputs


def teach(model, seed: int = 0, scale: float = 0.3):
    """Gives every trained tensor a value of its own, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for group in model.parameter_groups().values():
            for parameter in group.values():
                fan = math.prod(parameter.shape[1:])
                parameter.add_(torch.randn(parameter.shape, generator=generator) * scale / math.sqrt(fan))
    return model


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """These tensors are so small that threads cost more than they bring, the more so with several workers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def one_seed():
    """Heads and adapters start from torch's own generator; no test hangs on what others drew before it."""
    torch.manual_seed(0)


@pytest.fixture
def helpers():
    """What the tests of this folder share."""

    class Helpers:
        draw = staticmethod(draw)
        draw_entry = staticmethod(draw_entry)
        load_parity = staticmethod(load_parity)
        clip_fields = staticmethod(clip_fields)
        swin_fields = staticmethod(swin_fields)
        draw_inputs = staticmethod(draw_inputs)
        teach = staticmethod(teach)

    return Helpers
