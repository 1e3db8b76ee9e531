"""The STG-CMA model: a frozen image transformer, adapted in time, in space and across the modalities.

`build_model` makes a new model of a preset, `load_model` opens a trained one, and `prepare_inputs` brings a
clip into the form that it takes. `describe` counts parameters, operations and memory. `ModelConfig` is the
configuration: a backbone, an adapter and a head, registered in `FAMILIES`, `ADAPTERS` and `HEADS`.
"""

from __future__ import annotations

from .accounting import ModelSummary, describe
from .adapters import ADAPTERS
from .backbones import FAMILIES, backbone_names, find_backbone
from .build import build_from_config, build_model
from .checkpoint import load_model, save_checkpoint
from .config import ModelConfig
from .heads import HEADS
from .inputs import prepare_inputs
from .network import STGCMA
from .presets import PRESET_NAMES, preset_config
from .reference.importing import import_reference
from .trained_on import TrainedOn

__all__ = [
    "ADAPTERS",
    "FAMILIES",
    "HEADS",
    "PRESET_NAMES",
    "STGCMA",
    "ModelConfig",
    "ModelSummary",
    "TrainedOn",
    "backbone_names",
    "build_from_config",
    "build_model",
    "describe",
    "find_backbone",
    "import_reference",
    "load_model",
    "prepare_inputs",
    "preset_config",
    "save_checkpoint",
]
