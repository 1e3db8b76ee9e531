"""The named architectures. Backbone sizes: CLIP (arXiv 2103.00020) and Swin (arXiv 2103.14030);
adapter ratios: STG-CMA's released configurations.
"""

from __future__ import annotations

import difflib
from typing import Any

from ..errors import InputError
from .config import ModelConfig, check_fields

_CLIP_AUDIO = (102, 128)
_SWIN_AUDIO = (224, 224)

_BACKBONES: dict[str, dict[str, Any]] = {
    "clip-b16": {
        "backbone": "clip", "width": 768, "depths": (12,), "heads": (12,), "patch": 16,
        "audio_shape": _CLIP_AUDIO, "timm_name": "vit_base_patch16_clip_quickgelu_224.openai",
    },
    "clip-l14": {
        "backbone": "clip", "width": 1024, "depths": (24,), "heads": (16,), "patch": 14,
        "audio_shape": _CLIP_AUDIO, "timm_name": "vit_large_patch14_clip_quickgelu_224.openai",
    },
    "swin-b": {
        "backbone": "swin", "width": 128, "depths": (2, 2, 18, 2), "heads": (4, 8, 16, 32), "patch": 4,
        "audio_shape": _SWIN_AUDIO, "timm_name": "swin_base_patch4_window7_224.ms_in22k",
    },
    "swin-l": {
        "backbone": "swin", "width": 192, "depths": (2, 2, 18, 2), "heads": (6, 12, 24, 48), "patch": 4,
        "audio_shape": _SWIN_AUDIO, "timm_name": "swin_large_patch4_window7_224.ms_in22k",
    },
    "clip-demo": {
        "backbone": "clip", "width": 128, "depths": (4,), "heads": (4,), "patch": 32,
        "audio_shape": _CLIP_AUDIO,
    },
    "swin-demo": {
        "backbone": "swin", "width": 32, "depths": (1, 1, 2, 1), "heads": (1, 2, 4, 8), "patch": 7,
        "window": 4, "audio_shape": _SWIN_AUDIO, "mask_channels": 32, "drop_path": 0.0,
    },
    "swin-demo-coarse": {
        "backbone": "swin", "width": 32, "depths": (1, 1, 2, 1), "heads": (1, 2, 4, 8), "patch": 28,
        "window": 2, "audio_shape": _SWIN_AUDIO, "drop_path": 0.0,
    },
}  # fmt: skip

_TINY_SWIN = (0.125, 0.125, 0.0625, 0.0625)
_BASE_SWIN_B = (0.25, 0.25, 0.125, 0.125)
_DEMO_SWIN = (0.125, 0.25, 0.25, 0.25)
_BASE_SWIN_L = (0.5, 0.25, 0.125, 0.0625)

# name: (task, backbone, adapter ratio, time steps)
_PRESETS: dict[str, tuple[str, str, float | tuple[float, ...], int]] = {
    "ave-clip-b16-tiny": ("ave", "clip-b16", 0.03125, 10),
    "ave-clip-b16-base": ("ave", "clip-b16", 0.0625, 10),
    "ave-clip-l14-tiny": ("ave", "clip-l14", 0.03125, 10),
    "ave-clip-l14-base": ("ave", "clip-l14", 0.0625, 10),
    "ave-swin-b-tiny": ("ave", "swin-b", _TINY_SWIN, 10),
    "ave-swin-b-base": ("ave", "swin-b", _BASE_SWIN_B, 10),
    "ave-swin-l-tiny": ("ave", "swin-l", _TINY_SWIN, 10),
    "ave-swin-l-base": ("ave", "swin-l", _BASE_SWIN_L, 10),
    "avs-swin-b": ("avs", "swin-b", _BASE_SWIN_B, 5),
    "avs-swin-l": ("avs", "swin-l", _BASE_SWIN_L, 5),
    "avqa-swin-b": ("avqa", "swin-b", _BASE_SWIN_B, 10),
    "avqa-swin-l": ("avqa", "swin-l", _BASE_SWIN_L, 10),
    "ave-demo": ("ave", "clip-demo", 0.5, 10),
    "avs-demo": ("avs", "swin-demo", _DEMO_SWIN, 5),
    "avqa-demo": ("avqa", "swin-demo-coarse", _DEMO_SWIN, 10),
}
PRESET_NAMES = tuple(_PRESETS)


def preset_config(preset: str, **overrides: Any) -> ModelConfig:
    """The configuration of a preset, with fields of `ModelConfig` changed by keyword.

    Raises `InputError` for an unknown preset or field (naming the nearest) and for values that do not fit.
    """
    if preset not in _PRESETS:
        near = difflib.get_close_matches(preset, PRESET_NAMES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(PRESET_NAMES)}"
        raise InputError(f"preset {preset!r} does not exist; {hint}")
    check_fields(overrides)
    task, backbone, ratio, frames = _PRESETS[preset]
    fields = {"task": task, **_BACKBONES[backbone], "adapter_ratio": ratio, "frames": frames}
    return ModelConfig(**{**fields, **overrides})
