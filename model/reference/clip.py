"""The release's CLIP checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...errors import InputError
from ..backbones.clip import trunk_names
from ..config import ModelConfig
from .base import TABLE_SUFFIXES, Release, adapter_ratios, block_names, count

_PUBLISHED_AUDIO = (102, 128)
_MEL_BINS = 128
_HEAD_WIDTH = 64
_STEPS = {"temporal": "T_Adapter", "spatial": "S_Adapter", "global_": "MLP_Adapter"}


def _read(
    entries: Mapping[str, Tensor], heads: int | None, audio_shape: tuple[int, int] | None
) -> dict[str, Any]:
    width, patch = len(entries["class_embedding"]), entries["conv1.weight"].shape[-1]
    if heads is None and width % _HEAD_WIDTH:
        raise InputError(f"heads: not given, and width {width} is no multiple of {_HEAD_WIDTH}")
    side = math.isqrt(len(entries["positional_embedding"]) - 1)
    return {
        "width": width,
        "depths": (count(entries, r"transformer\.resblocks\.(\d+)\."),),
        "heads": (heads if heads is not None else width // _HEAD_WIDTH,),
        "patch": patch,
        "image_size": side * patch,
        "audio_shape": audio_shape or _read_audio_shape(entries, patch),
        "adapter_ratio": adapter_ratios(entries, r"transformer\.resblocks\.\d+\.", [width]),
    }


def _read_audio_shape(entries: Mapping[str, Tensor], patch: int) -> tuple[int, int]:
    """Return the segment that fills the audio position table: the published one, else one of 128 mel bins."""
    if "positional_embedding_audio" not in entries:  # frames alone; or missing, which is reported later
        return _PUBLISHED_AUDIO
    patches = len(entries["positional_embedding_audio"]) - 1
    if patches == (_PUBLISHED_AUDIO[0] // patch) * (_PUBLISHED_AUDIO[1] // patch):
        return _PUBLISHED_AUDIO
    columns = _MEL_BINS // patch
    if columns == 0 or patches % columns:
        raise InputError(
            f"audio_shape: not known, {patches} patches of {patch} are not 128 mel bins wide; "
            "from Python, give audio_shape="
        )
    return patches // columns * patch, _MEL_BINS


def _names(config: ModelConfig) -> dict[str, str]:
    names = {n: f"encoder.backbone.{ours}" for n, ours in trunk_names(config.backbone).items()}
    if "audio" in config.modalities:
        names["conv1_audio.weight"] = "encoder.audio_stem.weight"
        names["positional_embedding_audio"] = "encoder.audio_positions"
    for modality in config.modalities if config.adapter.temporal_embedding else ():
        names[f"temporal_embedding{TABLE_SUFFIXES[modality]}"] = f"encoder.temporal_embedding.{modality}"
    for i in range(config.backbone.depths[0]):
        theirs, ours = f"transformer.resblocks.{i}.", f"encoder.adapters.{i}."
        names.update(block_names(config, theirs, ours, _STEPS))
    return names


RELEASE = Release(marker="class_embedding", steps=_STEPS, read=_read, names=_names)
