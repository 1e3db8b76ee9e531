"""Checkpoints of the authors' release, turned into ours, every entry accounted for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import InputError
from .checkpoint import save_checkpoint
from .config import ModelConfig
from .network import STGCMA
from .reference_names import reference_names
from .tensor_files import file_sha256, load_tensors, summary, tensors_sha256
from .weights import materialise, read_state_dict

# Buffers that the release computes when it builds its model; ours computes them too.
_COMPUTED = re.compile(r"(relative_position_index|relative_coords\w*|attn_mask|num_batches_tracked)$")
_PUBLISHED_AUDIO = (102, 128)
_MEL_BINS = 128
_FRAMES = {"ave": 10, "avs": 5, "avqa": 10}
_CLIP_HEAD_WIDTH = 64
# Whoever has a checkpoint that nearly fits must see all that does not; a file of another kind has no end.
_MOST_FAULTS = 200


def import_reference(
    file: str | Path,
    out: str | Path,
    heads: int | None = None,
    modality: str | None = None,
    *,
    audio_shape: tuple[int, int] | None = None,
) -> ModelConfig:
    """Writes the model of a release checkpoint into the folder `out`, for `load_model`.

    Args:
        file: the release's `.pth`, with or without the prefix `module.`.
        out: a checkpoint folder; made where it does not exist.
        heads: CLIP's attention heads, which no shape tells; width / 64 by default.
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
    own = {**model.frozen_tensors(), **model.trained_tensors()}
    wanted = {theirs: own[ours] for theirs, ours in names.items()}
    given = {theirs: _shaped(entries[theirs], ours) for theirs, ours in wanted.items()}
    load_tensors(wanted, given, path, most=_MOST_FAULTS)
    model.backbone_source = {"kind": "imported", "weights": None, "file_sha256": file_sha256(path)}
    model.backbone_source["sha256"] = tensors_sha256(model.backbone_tensors())
    save_checkpoint(model, out)
    return config


def _shaped(entry: Tensor, ours: Tensor) -> Tensor:
    """An entry without the singleton dimensions by which the release's layout differs from ours.

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
    fields: dict[str, Any] = {**_read_task(entries), "modality": _read_modality(entries, modality)}
    if "class_embedding" in entries:
        fields.update(_read_clip(entries, heads, audio_shape))
    elif heads is not None or audio_shape is not None:
        raise InputError(f"heads: {heads!r}, audio_shape: {audio_shape!r}: only CLIP's are asked for")
    else:
        fields.update(_read_swin(entries))
    fields["frames"] = _read_frames(entries, fields["task"])
    clip = fields["backbone"] == "clip"
    steps = {"temporal": "T_Adapter", "spatial": "S_Adapter" if clip else "S_Adapter2"}
    steps["global_"] = "MLP_Adapter" if clip else "S_Adapter"
    for step, adapter in steps.items():
        fields[step] = any(re.search(rf"\.{adapter}(_Audio)?\.", name) for name in entries)
    return ModelConfig(**fields)


def _read_task(entries: Mapping[str, Tensor]) -> dict[str, Any]:
    if any(name.startswith("avstask_") for name in entries):
        return {"task": "avs"}
    if any(name.startswith("avqatask_") for name in entries):
        vocabulary = len(entries["avqatask_question_encoder.word2vec.weight"])
        return {"task": "avqa", "vocabulary": vocabulary, "answers": len(entries["avqatask_fc_ans.weight"])}
    last = "mlp_head.1.weight" if entries["mlp_head.0.weight"].ndim == 1 else "mlp_head.2.weight"
    return {"task": "ave", "classes": len(entries[last])}


def _read_frames(entries: Mapping[str, Tensor], task: str) -> int:
    """The time steps that an embedding or a bias table counts, whether the model reads it or not.

    Without either the weights fit any number, and the task's own is taken.
    """
    for name, entry in entries.items():
        if re.fullmatch(r"temporal_embedding(_audio)?", name):
            return entry.shape[1]
        if ".temporal_position_bias_table" in name:
            return (len(entry) + 1) // 2
    return _FRAMES[task]


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


def _read_clip(
    entries: Mapping[str, Tensor], heads: int | None, audio_shape: tuple[int, int] | None
) -> dict[str, Any]:
    width, patch = len(entries["class_embedding"]), entries["conv1.weight"].shape[-1]
    if heads is None and width % _CLIP_HEAD_WIDTH:
        raise InputError(f"heads: not given, and width {width} is no multiple of {_CLIP_HEAD_WIDTH}")
    side = math.isqrt(len(entries["positional_embedding"]) - 1)
    ratios = _adapter_ratios(entries, r"transformer\.resblocks\.\d+\.", [width])
    return {
        "backbone": "clip",
        "width": width,
        "depths": (_count(entries, r"transformer\.resblocks\.(\d+)\."),),
        "heads": (heads if heads is not None else width // _CLIP_HEAD_WIDTH,),
        "patch": patch,
        "image_size": side * patch,
        "audio_shape": audio_shape or _read_audio_shape(entries, patch),
        "adapter_ratio": ratios,
    }


def _read_audio_shape(entries: Mapping[str, Tensor], patch: int) -> tuple[int, int]:
    """The segment that fills the audio position table: the published one, else one of 128 mel bins."""
    if "positional_embedding_audio" not in entries:  # the frames alone; or missing, which is told later
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


def _read_swin(entries: Mapping[str, Tensor]) -> dict[str, Any]:
    width, patch = entries["patch_embed.proj.weight"].shape[0], entries["patch_embed.proj.weight"].shape[-1]
    stages = _count(entries, r"layers\.(\d+)\.")
    tables = [entries[f"layers.{s}.blocks.0.attn.relative_position_bias_table"] for s in range(stages)]
    ratios = [
        _adapter_ratios(entries, rf"layers\.{stage}\.blocks\.\d+\.", [width << stage])[0]
        for stage in range(stages)
    ]
    return {
        "backbone": "swin",
        "width": width,
        "depths": tuple(_count(entries, rf"layers\.{stage}\.blocks\.(\d+)\.") for stage in range(stages)),
        "heads": tuple(table.shape[1] for table in tables),
        "patch": patch,
        "window": (math.isqrt(len(tables[0])) + 1) // 2,
        "audio_shape": (224, 224),
        "adapter_ratio": tuple(ratios),
    }


def _adapter_ratios(entries: Mapping[str, Tensor], block: str, widths: list[int]) -> tuple[float, ...]:
    """For each width the smallest ratio with `int(width·ratio)` equal to the bottleneck found.

    Without any adapter nothing has a bottleneck, and 1 is as good as any ratio.
    """
    pattern = re.compile(block + r"\w*Adapter\w*\.D_fc1\.weight")
    hidden = [len(t) for name, t in entries.items() if pattern.fullmatch(name)]
    if not hidden:
        return (1.0,) * len(widths)
    ratios = [hidden[0] / width for width in widths]
    return tuple(
        ratio if int(width * ratio) == hidden[0] else math.nextafter(ratio, math.inf)
        for width, ratio in zip(widths, ratios, strict=True)
    )


def _count(entries: Mapping[str, Tensor], pattern: str) -> int:
    """How many numbers the group of `pattern` takes, from 0 on."""
    found = [int(match[1]) for name in entries if (match := re.match(pattern, name))]
    if not found:
        raise InputError(f"no entry like {pattern}; expected a checkpoint of the release")
    return max(found) + 1


def _unread_names(config: ModelConfig) -> re.Pattern[str]:
    """What a checkpoint may hold although the release's forward never reads it."""
    patterns = [r"avstask_path4\.resConfUnit1\..*"]
    if not (config.fused and (config.spatial or config.global_)):
        patterns.append(r".*\.gate_[va]")
    if not config.temporal:
        patterns += [r"temporal_embedding(_audio)?", r".*\.temporal_position_bias_table(_audio)?"]
    if "audio" not in config.modalities:
        patterns += [r"temporal_embedding_audio", r"conv1_audio\.weight", r"positional_embedding_audio"]
        patterns += [r"patch_embed_audio\..*", r".*\.temporal_position_bias_table_audio"]
    if "video" not in config.modalities:
        patterns += [r"temporal_embedding", r".*\.temporal_position_bias_table"]
    return re.compile("|".join(patterns))
