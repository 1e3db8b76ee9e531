"""Checkpoints of the authors' release, turned into ours, every entry accounted for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import InputError
from ..checkpoint import save_checkpoint
from ..config import ModelConfig
from ..heads import HEADS
from ..network import STGCMA
from ..tensor_files import file_sha256, load_tensors, summary, tensors_sha256
from ..weights import materialise, read_state_dict
from . import RELEASES

# Buffers that the release computes when it builds its model; ours computes them too.
_COMPUTED = re.compile(r"(relative_position_index|relative_coords\w*|attn_mask|num_batches_tracked)$")
# A checkpoint that nearly fits has few faults, which are all listed; a file of another kind has thousands.
_MOST_FAULTS = 200


def import_reference(
    file: str | Path,
    out: str | Path,
    heads: int | None = None,
    modality: str | None = None,
    *,
    audio_shape: tuple[int, int] | None = None,
) -> ModelConfig:
    """Write the model of a release checkpoint into the folder `out`, for `load_model`.

    Args:
        file: the release's `.pth`, with or without the prefix `module.`.
        out: a checkpoint folder; made where it does not exist.
        heads: CLIP's attention heads, a number that the file does not contain; width / 64 by default.
        modality: `av` or `av-nofusion`, which names and shapes do not tell apart either; `av` by default.
            `video` or `audio` for a model of one modality that has no adapter to tell which.
        audio_shape: `(F, M)` of CLIP's audio segments, where they are neither 102 × 128 nor 128 mel bins.

    Returns:
        The configuration read off the checkpoint.

    Raises:
        InputError: the file cannot be read, is no checkpoint of the release, or does not fit; unknown and
            missing entries are listed.
    """
    path = Path(file)
    entries = {name: t for name, t in read_state_dict(path).items() if not _COMPUTED.search(name)}
    try:
        config = _read_config(entries, heads, modality, audio_shape)
    except KeyError as error:
        raise InputError(f"{path}: missing {error.args[0]}; expected a checkpoint of the release") from error
    names = reference_names(config)
    unread = _unread_names(config)
    faults = [f"missing {name}" for name in names if name not in entries]
    faults += [f"unknown {name}" for name in entries if name not in names and not unread.fullmatch(name)]
    if faults:
        raise InputError(f"{path}: {summary(faults, _MOST_FAULTS)}")

    model = STGCMA(config, backbone_device="meta")
    materialise(model)
    ours = {**model.frozen_tensors(), **model.trained_tensors()}
    wanted = {theirs: ours[name] for theirs, name in names.items()}
    given = {theirs: _shaped(entries[theirs], tensor) for theirs, tensor in wanted.items()}
    load_tensors(wanted, given, path, most=_MOST_FAULTS)
    model.backbone_source = {"kind": "imported", "weights": None, "file_sha256": file_sha256(path)}
    model.backbone_source["sha256"] = tensors_sha256(model.backbone_tensors())
    save_checkpoint(model, out)
    return config


def reference_names(config: ModelConfig) -> dict[str, str]:
    """Return the release's names → ours, for every entry that our model of this configuration has.

    Raises InputError where the authors released no such model.
    """
    head = HEADS[config.task].reference_names
    if config.backbone.family not in RELEASES or head is None:
        raise InputError(f"no {config.task} model on {config.backbone.family} was released")
    return {**RELEASES[config.backbone.family].names(config), **head(config)}


def _shaped(entry: Tensor, ours: Tensor) -> Tensor:
    """Return an entry without the singleton dimensions by which the release's layout differs from ours.

    Its convolutions over one frame, 1×1×1 convolutions and unbatched embeddings hold the same numbers.
    """
    plain = [size for size in entry.shape if size != 1]
    same = plain == [size for size in ours.shape if size != 1]
    return (entry.reshape(ours.shape) if same else entry).float()


def _read_config(
    entries: Mapping[str, Tensor],
    heads: int | None,
    modality: str | None,
    audio_shape: tuple[int, int] | None,
) -> ModelConfig:
    task, options = _read_head(entries)
    options |= {"task": task, "modality": _read_modality(entries, modality)}
    released = [name for name, release in RELEASES.items() if release.marker in entries]
    if not released:
        raise KeyError(" or ".join(release.marker for _, release in RELEASES.items()))
    release = RELEASES[released[0]]
    options |= {"backbone": released[0], **release.read(entries, heads, audio_shape)}
    options["frames"] = _read_frames(entries, task)
    for step, adapter in release.steps.items():
        options[step] = any(re.search(rf"\.{adapter}(_Audio)?\.", name) for name in entries)
    return ModelConfig.from_dict(options)


def _read_head(entries: Mapping[str, Tensor]) -> tuple[str, dict[str, Any]]:
    for task, head in HEADS.items():
        options = head.read_reference(entries) if head.read_reference is not None else None
        if options is not None:
            return task, dict(options)
    raise KeyError(f"the entries of a head for {', '.join(HEADS.names)}")


def _read_frames(entries: Mapping[str, Tensor], task: str) -> int:
    """Return the time steps of an embedding or a bias table, whether the model reads it or not.

    Without either the weights fit any number, and the task's usual one is returned.
    """
    for name, entry in entries.items():
        if re.fullmatch(r"temporal_embedding(_audio)?", name):
            return entry.shape[1]
        if ".temporal_position_bias_table" in name:
            return (len(entry) + 1) // 2
    return HEADS[task].config.frames


def _read_modality(entries: Mapping[str, Tensor], wanted: str | None) -> str:
    audio = any("_Adapter_Audio." in name or "_Adapter2_Audio." in name for name in entries)
    video = any("_Adapter." in name or "_Adapter2." in name for name in entries)
    allowed: tuple[str, ...]
    if not audio and not video and "mlp_head.1.weight" in entries:
        allowed = ("video", "audio")
        if wanted is None:
            raise InputError("modality: not given, and no adapter tells; expected video or audio")
    elif audio == video:
        fused = any(name.endswith("gate_v") for name in entries)
        allowed = ("av", "av-nofusion") if fused else ("av-nofusion", "av")
    else:
        allowed = ("audio",) if audio else ("video",)
    if wanted is not None and wanted not in allowed:
        raise InputError(f"modality: {wanted!r}, expected {' or '.join(allowed)} for this checkpoint")
    return wanted or allowed[0]


def _unread_names(config: ModelConfig) -> re.Pattern[str]:
    """Return the names that a checkpoint may hold although the release's forward never reads them."""
    adapter: Any = config.adapter
    patterns = [r"avstask_path4\.resConfUnit1\..*"]
    if not (config.fused and (adapter.spatial or adapter.global_)):
        patterns.append(r".*\.gate_[va]")
    if not adapter.temporal:
        patterns += [r"temporal_embedding(_audio)?", r".*\.temporal_position_bias_table(_audio)?"]
    if "audio" not in config.modalities:
        patterns += [r"temporal_embedding_audio", r"conv1_audio\.weight", r"positional_embedding_audio"]
        patterns += [r"patch_embed_audio\..*", r".*\.temporal_position_bias_table_audio"]
    if "video" not in config.modalities:
        patterns += [r"temporal_embedding", r".*\.temporal_position_bias_table"]
    return re.compile("|".join(patterns))
