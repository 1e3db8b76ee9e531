"""The release's Swin checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...errors import InputError
from ..backbones.swin_names import trunk_names
from ..config import ModelConfig
from .base import TABLE_SUFFIXES, Release, adapter_ratios, block_names, count

# In the release's Swin, S_Adapter is the global step.
_STEPS = {"temporal": "T_Adapter", "spatial": "S_Adapter2", "global_": "S_Adapter"}


def _read(
    entries: Mapping[str, Tensor], heads: int | None, audio_shape: tuple[int, int] | None
) -> dict[str, Any]:
    if heads is not None or audio_shape is not None:
        raise InputError(f"heads: {heads!r}, audio_shape: {audio_shape!r}: read off a Swin, only for CLIP")
    kernel = entries["patch_embed.proj.weight"]
    width, stages = kernel.shape[0], count(entries, r"layers\.(\d+)\.")
    tables = [entries[f"layers.{s}.blocks.0.attn.relative_position_bias_table"] for s in range(stages)]
    ratios = [
        adapter_ratios(entries, rf"layers\.{stage}\.blocks\.\d+\.", [width << stage])[0]
        for stage in range(stages)
    ]
    return {
        "width": width,
        "depths": tuple(count(entries, rf"layers\.{stage}\.blocks\.(\d+)\.") for stage in range(stages)),
        "heads": tuple(table.shape[1] for table in tables),
        "patch": kernel.shape[-1],
        "window": (math.isqrt(len(tables[0])) + 1) // 2,
        "audio_shape": (224, 224),
        "adapter_ratio": tuple(ratios),
    }


def _names(config: ModelConfig) -> dict[str, str]:
    names = {n: f"encoder.backbone.{ours}" for n, ours in trunk_names(config.backbone).items()}
    if "audio" in config.modalities:
        for leaf in ("weight", "bias"):
            names[f"patch_embed_audio.proj.{leaf}"] = f"encoder.audio_stem.{leaf}"
            names[f"patch_embed_audio.norm.{leaf}"] = f"encoder.audio_norm.{leaf}"
    adapter: Any = config.adapter
    for stage, depth in enumerate(config.backbone.depths):
        for i in range(depth):
            theirs, ours = f"layers.{stage}.blocks.{i}.", f"encoder.adapters.{stage}.{i}."
            steps = dict(_STEPS)
            if i % 2:
                del steps["temporal"]
            elif adapter.temporal:
                for modality in config.modalities:
                    table = f"attn.temporal_position_bias_table{TABLE_SUFFIXES[modality]}"
                    names[theirs + table] = f"{ours}temporal_bias.{modality}"
            names.update(block_names(config, theirs, ours, steps))
    return names


RELEASE = Release(marker="patch_embed.proj.weight", steps=_STEPS, read=_read, names=_names)
