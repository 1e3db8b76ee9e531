"""Make a model from a preset or a configuration."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from .config import ModelConfig
from .network import STGCMA
from .presets import preset_config
from .weights import fill_backbone


def build_model(preset: str, weights: str | Path | None = None, **overrides: Any) -> STGCMA:
    """Make a model of a preset, its adapters untrained.

    Args:
        preset: a name of `PRESET_NAMES`.
        weights: the frozen backbone's weights. `"timm"` takes timm's published ones by name from the cache or
            the hub; a path names a local file: OpenAI's CLIP `.pt`, Microsoft's Swin `.pth`, or timm's
            weights as `.pth` or `.safetensors`; `"random"` draws them from `backbone_seed`. None is
            like `"random"`, with a warning if the preset has published weights.
        overrides: options of `ModelConfig.options`, such as `modality=`, `frames=`, `classes=`,
            `adapter_ratio=`, or `backbone=` with the name of another backbone.

    Raises:
        InputError: an unknown preset or option, a value that does not fit, a file that does not fit.
    """
    config = preset_config(preset, **overrides)
    if weights is None and config.backbone.timm_name is not None:
        warnings.warn(
            f"the frozen backbone of {preset} is drawn at random; weights='timm' loads the published weights "
            f"({config.backbone.timm_name}), weights='random' says that random ones are wanted",
            stacklevel=2,
        )
    return build_from_config(config, weights=weights)


def build_from_config(config: ModelConfig, weights: str | Path | None = None) -> STGCMA:
    """Make a model of a configuration; otherwise as `build_model`."""
    model = STGCMA(config, backbone_device="meta")
    fill_backbone(model, weights)
    return model
