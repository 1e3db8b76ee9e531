"""The STG-CMA model: a frozen image transformer, adapted in time, space and across modalities."""

from __future__ import annotations

from .accounting import ModelSummary, describe
from .build import build_from_config, build_model
from .checkpoint import load_model, save_checkpoint
from .config import ModelConfig
from .inputs import prepare_inputs
from .network import STGCMA
from .presets import PRESET_NAMES, preset_config
from .reference import import_reference
from .trained_on import TrainedOn

__all__ = [
    "PRESET_NAMES",
    "STGCMA",
    "ModelConfig",
    "ModelSummary",
    "TrainedOn",
    "build_from_config",
    "build_model",
    "describe",
    "import_reference",
    "load_model",
    "prepare_inputs",
    "preset_config",
    "save_checkpoint",
]
