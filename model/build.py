"""From a preset or a configuration to a model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .checkpoint import KEPT_KINDS, load_tensors, read_tensors, tensors_sha256
from .config import ModelConfig
from .network import STGCMA
from .presets import preset_config


def build_model(preset: str, weights: str | Path | None = None, **overrides: Any) -> STGCMA:
    """A new model of a preset, its adapters untrained.

    Args:
        preset: a name of `PRESET_NAMES`.
        weights: the frozen backbone's weights. None draws them from `backbone_seed`; `"timm"` takes timm's
            published ones by name from the cache or the hub; a path names a local file: OpenAI's CLIP `.pt`,
            Microsoft's Swin `.pth`, or timm's weights as `.pth` or `.safetensors`.
        overrides: fields of `ModelConfig`, such as `modality=`, `frames=`, `classes=`, `adapter_ratio=`.

    Raises:
        InputError: an unknown preset or field, a value that does not fit, a file that does not fit.
    """
    return build_from_config(preset_config(preset, **overrides), weights=weights)


def build_from_config(config: ModelConfig, weights: str | Path | None = None) -> STGCMA:
    """As `build_model`, from a whole configuration."""
    model = STGCMA(config, backbone_device="meta")
    fill_backbone(model, weights, "random")
    return model


def fill_backbone(model: STGCMA, weights: str | Path | None, kind: str) -> None:
    """Fills the frozen weights of a model built on the meta device and records where they come from.

    `kind` is `random` for a new model; of a checkpoint, what it says its backbone is.
    """
    materialise(model)
    if weights is None:
        draw_backbone(model)
    elif kind in KEPT_KINDS:
        model.backbone_source = {"kind": kind}
        load_tensors(model.backbone_tensors(), read_tensors(Path(weights)), Path(weights))
    if model.backbone_source["kind"] != "imported":
        model.encoder.derive_audio()
    model.backbone_source["sha256"] = tensors_sha256(model.backbone_tensors())


def materialise(model: STGCMA) -> None:
    """Gives the frozen weights memory; timm's computed buffers are filled, the weights are not."""
    encoder = model.encoder
    for module in encoder.modules():
        if any(p.is_meta for p in module.parameters(recurse=False)) or any(
            b.is_meta for b in module.buffers(recurse=False)
        ):
            module.to_empty(device="cpu", recurse=False)
    for module in encoder.backbone.modules():
        if hasattr(module, "init_non_persistent_buffers"):
            module.init_non_persistent_buffers()


def draw_backbone(model: STGCMA) -> None:
    """Random frozen weights from the configuration's seed; the global generator is not touched.

    Matrices have variance 1 / fan-in, and embeddings are of the patches' order of magnitude. With timm's
    own init (σ = 0.02) attention is uniform and a deep random network maps every image to nearly the same
    features, from which no adapter can learn anything.
    """
    generator = torch.Generator().manual_seed(model.config.backbone_seed)
    with torch.no_grad():
        for name, parameter in model.encoder.backbone.named_parameters():
            if parameter.ndim > 1:
                embedding = name.endswith(("pos_embed", "cls_token", "bias_table"))
                std = 0.2 if embedding else 1 / math.sqrt(math.prod(parameter.shape[1:]))
                parameter.normal_(std=std, generator=generator)
            else:
                nn.init.constant_(parameter, 1.0 if name.endswith("weight") else 0.0)
    model.backbone_source = {"kind": "random"}
