"""The parity numbers of this folder, read and drawn again; README.md says how they were made."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

PARITY = Path(__file__).parent
MODES = {"fusion": "av", "multimodal": "av-nofusion", "videoonly": "video", "audioonly": "audio"}


def draw(name: str, shape) -> Tensor:
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return torch.from_numpy(generator.standard_normal(tuple(shape)).astype(np.float32))


def draw_entry(name: str, shape, dtype: torch.dtype = torch.float32) -> Tensor:
    """One checkpoint entry, a float32 draw scaled in `dtype`; the rules are in parity/README.md."""
    x, leaf = draw(name, shape).to(dtype), name.rsplit(".", 1)[-1]
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
