"""The parity numbers, and small configurations that a test can afford."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from .parity.parity_numbers import draw, draw_entry, load_parity


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
    if overrides.get("task") == "avs":
        overrides = {"mask_channels": 8, **overrides}
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


def swinv2_fields(**overrides) -> dict[str, Any]:
    """A Swin V2 of such sizes; `timm_name` decides how coordinates inside a window are scaled."""
    own = {"backbone": "swinv2", "timm_name": "swinv2_tiny_window8_256", "depths": (2, 1, 1, 1)}
    return swin_fields(**{**own, **overrides})


def vit_fields(**overrides) -> dict[str, Any]:
    """A small DINOv3, with rotary positions, registers and LayerScale; `timm_name` makes it another ViT."""
    if overrides.get("task") in ("avs", "avss"):
        overrides = {"mask_channels": 8, **overrides}
    fields = {
        "task": "ave",
        "backbone": "vit",
        "timm_name": "vit_small_patch16_dinov3",
        "width": 32,
        "depths": (2,),
        "heads": (2,),
        "patch": 16,
        "image_size": 64,
        "audio_shape": (50, 80),
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
            inputs[name] = torch.randint(0, config.head.vocabulary, shape, generator=generator)
        elif name == "frame_mask":
            inputs[name] = torch.ones(shape, dtype=torch.bool)
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
    """Small configurations and inputs for the tests of this folder."""

    class Helpers:
        draw = staticmethod(draw)
        draw_entry = staticmethod(draw_entry)
        load_parity = staticmethod(load_parity)
        clip_fields = staticmethod(clip_fields)
        swin_fields = staticmethod(swin_fields)
        swinv2_fields = staticmethod(swinv2_fields)
        vit_fields = staticmethod(vit_fields)
        draw_inputs = staticmethod(draw_inputs)
        teach = staticmethod(teach)

    return Helpers
