"""The named architectures: a task, a backbone and STG-CMA's adapter ratios as released."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from .backbones import find_backbone
from .config import ModelConfig, check_fields
from .heads import HEADS

_TINY_SWIN = (0.125, 0.125, 0.0625, 0.0625)
_BASE_SWIN_B = (0.25, 0.25, 0.125, 0.125)
_BASE_SWIN_L = (0.5, 0.25, 0.125, 0.0625)
_DEMO_SWIN = (0.125, 0.25, 0.25, 0.25)


@dataclass(frozen=True)
class Architecture:
    """One preset: a task, the name of a backbone, the adapter ratio, and options of the head or backbone.

    A clip has as many time steps as in the task's published models.
    """

    task: str
    backbone: str
    ratio: float | tuple[float, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


_PRESETS = {
    "ave-clip-b16-tiny": Architecture("ave", "clip-b16", 0.03125),
    "ave-clip-b16-base": Architecture("ave", "clip-b16", 0.0625),
    "ave-clip-l14-tiny": Architecture("ave", "clip-l14", 0.03125),
    "ave-clip-l14-base": Architecture("ave", "clip-l14", 0.0625),
    "ave-swin-b-tiny": Architecture("ave", "swin-b", _TINY_SWIN),
    "ave-swin-b-base": Architecture("ave", "swin-b", _BASE_SWIN_B),
    "ave-swin-l-tiny": Architecture("ave", "swin-l", _TINY_SWIN),
    "ave-swin-l-base": Architecture("ave", "swin-l", _BASE_SWIN_L),
    "avs-swin-b": Architecture("avs", "swin-b", _BASE_SWIN_B),
    "avs-swin-l": Architecture("avs", "swin-l", _BASE_SWIN_L),
    "avs-ms3-swin-b": Architecture("avs", "swin-b", _BASE_SWIN_B),
    "avs-ms3-swin-l": Architecture("avs", "swin-l", _BASE_SWIN_L),
    "avqa-swin-b": Architecture("avqa", "swin-b", _BASE_SWIN_B),
    "avqa-swin-l": Architecture("avqa", "swin-l", _BASE_SWIN_L),
    "avvp-swin-b": Architecture("avvp", "swin-b", _BASE_SWIN_B),
    "avvp-swin-l": Architecture("avvp", "swin-l", _BASE_SWIN_L),
    "avc-clip-b16": Architecture("avc", "clip-b16", 0.0625),
    "avc-clip-l14": Architecture("avc", "clip-l14", 0.0625),
    "avc-swin-b": Architecture("avc", "swin-b", _BASE_SWIN_B),
    "avc-swin-l": Architecture("avc", "swin-l", _BASE_SWIN_L),
    "avss-swin-b": Architecture("avss", "swin-b", _BASE_SWIN_B),
    "avss-swin-l": Architecture("avss", "swin-l", _BASE_SWIN_L),
    "ave-demo": Architecture("ave", "clip-demo", 0.5),
    "avs-demo": Architecture("avs", "swin-demo", _DEMO_SWIN, {"mask_channels": 32}),
    "avs-ms3-demo": Architecture("avs", "swin-demo", _DEMO_SWIN, {"mask_channels": 32, "patch": 14}),
    "avvp-demo": Architecture("avvp", "clip-demo", 0.5, {"depths": (2,)}),
    "avss-demo": Architecture("avss", "swin-demo", _DEMO_SWIN, {"mask_channels": 64, "patch": 14}),
    "avqa-demo": Architecture("avqa", "swin-demo-coarse", _DEMO_SWIN),
    "avc-demo": Architecture("avc", "clip-demo", 0.5),
}
PRESET_NAMES = tuple(_PRESETS)
"""The names of all presets."""


def preset_config(preset: str, **overrides: Any) -> ModelConfig:
    """Return the configuration of a preset, with some options changed, as `ModelConfig.replace` does.

    Raises InputError for an unknown preset or option (naming the nearest) and for values that do not fit.
    """
    if preset not in _PRESETS:
        near = difflib.get_close_matches(preset, PRESET_NAMES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(PRESET_NAMES)}"
        raise InputError(f"preset {preset!r} does not exist; {hint}")
    check_fields(overrides)
    chosen = _PRESETS[preset]
    config = ModelConfig.made_of(
        find_backbone(chosen.backbone),
        task=chosen.task,
        adapter_ratio=chosen.ratio,
        frames=HEADS[chosen.task].config.frames,
        **chosen.options,
    )
    return config.replace(**overrides) if overrides else config
