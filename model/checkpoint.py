"""Adapter checkpoints: what is trained, what it was trained on, and nothing twice.

A checkpoint folder holds `adapters.safetensors` (the trained tensors and the head's buffers) and
`model.json` (the configuration, where the frozen backbone comes from, with its sha256, and what the model was
trained on). No path in it depends on the machine: the folder can be handed on. A backbone that cannot be had
elsewhere, drawn at random or imported, is kept in `backbone.safetensors`, beside it or in the run folder.
`adapters.safetensors` carries the same JSON in its header, so that the file alone is enough; `model.json` is
for people, and must agree with it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..bounded import MOST_JSON_BYTES, parse_json, parse_object, read_file
from ..errors import InputError
from ..strict_json import strict_json
from .config import ModelConfig
from .network import STGCMA
from .records import to_dict
from .tensor_files import (
    MOST_HEADER_BYTES,
    check_shapes,
    load_tensors,
    read_metadata,
    read_shapes,
    read_tensors,
    summary,
    write_atomically,
    write_tensors,
)
from .trained_on import TrainedOn
from .weights import KEPT_KINDS, fill_backbone

ADAPTERS, BACKBONE, DESCRIPTION = "adapters.safetensors", "backbone.safetensors", "model.json"
FORMAT_VERSION = 1
# Options that decide no trained tensor; a random backbone's seed shows in the hash of its weights.
_WITHOUT_SHAPE = (
    "drop_path",
    "checkpointing",
    "backbone_seed",
    "backbone_precision",
    "image_mean",
    "image_std",
    "timm_name",
)
_ENCODER = "encoder."
_KINDS = (*KEPT_KINDS, "timm", "file")


def save_checkpoint(model: STGCMA, folder: str | Path, *, backbone_folder: str | Path | None = None) -> None:
    """Write a checkpoint into `folder`; the same model gives the same bytes.

    Args:
        model: the model to save.
        folder: made where it does not exist. Each file in it is replaced atomically.
        backbone_folder: folder for a random or imported backbone, stored once for all checkpoints that name
            the same folder; `folder` by default.

    Raises:
        InputError: `folder` is a file; `backbone_folder` already keeps another backbone, or a damaged one.
    """
    folder = _make_folder(Path(folder))
    source = dict(model.backbone_source)
    if source["kind"] in KEPT_KINDS:
        kept = _keep_backbone(model, folder, backbone_folder)
        source["file"] = Path(os.path.relpath(kept, folder)).as_posix()
    elif source["kind"] == "file":
        source["weights"] = Path(source["weights"]).name
    description = {"format_version": FORMAT_VERSION, "config": model.config.to_dict(), "backbone": source}
    if model.trained_on is not None:
        description["trained_on"] = model.trained_on.to_dict()
    text = strict_json(description, indent=2, sort_keys=True) + "\n"
    write_tensors(folder / ADAPTERS, _on_cpu(model.trained_tensors()), {"stgcma": text})
    write_atomically(folder / DESCRIPTION, lambda path: path.write_text(text, encoding="utf-8"))


def _make_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{folder}: is a file or lies below one, expected a folder") from error
    return folder


def _keep_backbone(model: STGCMA, folder: Path, backbone_folder: str | Path | None) -> Path:
    kept = _make_folder(Path(backbone_folder or folder)) / BACKBONE
    sha256 = model.backbone_source["sha256"]
    if kept.exists():
        # Other checkpoints depend on a shared folder's file; a file of this checkpoint alone is replaced.
        try:
            existing = read_metadata(kept).get("sha256")
        except InputError as error:
            if backbone_folder is not None:
                raise InputError(f"backbone_folder: {kept} is damaged ({error})") from error
            existing = None
        if existing == sha256:
            return kept
        if backbone_folder is not None:
            raise InputError(f"backbone_folder: {kept} keeps another backbone (sha256 {existing})")
    backbone = model.backbone_tensors()
    if any(tensor.is_floating_point() and tensor.dtype != torch.float32 for tensor in backbone.values()):
        raise ValueError("the frozen weights were cast, and their float32 values were not kept")
    write_tensors(kept, _on_cpu(backbone), {"sha256": sha256})
    return kept


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def load_model(path: str | Path, weights: str | Path | None = None) -> STGCMA:
    """Load the model of a checkpoint, in evaluation mode, on the CPU.

    Args:
        path: a checkpoint folder, its `adapters.safetensors`, or a run folder (its `checkpoints/best`, else
            `checkpoints/last`).
        weights: source of the backbone's weights, as in `build_model`. Needed for a backbone that was read
            from a file, unless that file is in the checkpoint's folder, or at the path that the run folder
            records.

    Raises:
        InputError: something is missing or damaged, or the backbone is not the one that was trained on.
    """
    adapters = find_adapters(Path(path))
    description = _read_description(adapters)
    try:
        config = ModelConfig.from_dict(description["config"])
        known = TrainedOn.from_dict(description["trained_on"]) if "trained_on" in description else None
    except InputError as error:
        raise InputError(f"{adapters}: {error}") from error
    source = description["backbone"]
    # The configuration could claim any size: it is compared with the file before it gets memory.
    with torch.device("meta"):
        claimed = STGCMA(config, backbone_device="meta").trained_tensors()
    check_shapes(claimed, read_shapes(adapters), adapters)
    model = STGCMA(config, backbone_device="meta")
    if weights is None:
        weights = _find_backbone(adapters, source)
    fill_backbone(model, weights, kind=source["kind"])
    if model.backbone_source["sha256"] != source["sha256"]:
        raise InputError(
            f"{adapters}: trained on the backbone {source['sha256'][:12]}… ({source['kind']}), "
            f"refusing {model.backbone_source['sha256'][:12]}… from {weights or 'its seed'}"
        )
    model.backbone_source = {name: value for name, value in source.items() if name != "file"}
    model.trained_on = known
    load_tensors(model.trained_tensors(), read_tensors(adapters), adapters)
    return model.eval()


def _find_backbone(adapters: Path, source: dict[str, Any]) -> str | Path | None:
    """Return the file or name to read a checkpoint's backbone from; None to draw it again from its seed."""
    if source["kind"] == "timm":
        return str(source["weights"])
    kept = source["kind"] in KEPT_KINDS
    name = str(source["file"] if kept else source["weights"])
    candidates = [adapters.parent / name]
    if kept:
        candidates.append(adapters.parent / Path(name).name)  # handed on beside the checkpoint
    else:
        candidates += _noted_in_run(adapters)
    for path in candidates:
        if path.is_file():
            return path
    if source["kind"] == "random":
        return None
    raise InputError(
        f"{candidates[0]}: no such file; the checkpoint {adapters.parent} "
        f"{'keeps its backbone there' if kept else 'was trained on it'}; "
        "give its place with the option weights"
    )


def _noted_in_run(adapters: Path) -> list[Path]:
    """The file of weights that the run folder names, when `adapters` lies in one (`checkpoints/best`)."""
    about = adapters.parent.parent.parent / "run.json"
    if adapters.parent.parent.name != "checkpoints" or not about.is_file():
        return []
    content = parse_object(read_file(about, most_bytes=MOST_JSON_BYTES), where=str(about))
    source = content.get("backbone")
    noted = source.get("weights") if isinstance(source, dict) else None
    return [Path(noted)] if isinstance(noted, str) else []


@dataclass(frozen=True)
class Started:
    """The weights that a model was started from.

    Attributes:
        file: that was read.
        new_head: the options in which the heads differ, so that the model's own head was left as it is; empty
            where the head was loaded too.
    """

    file: Path
    new_head: str = ""


def load_trained(model: STGCMA, path: str | Path) -> Started:
    """Load the trained tensors of a checkpoint into a model of the same architecture and backbone.

    The head is loaded where it has the same task and options.

    Args:
        model: on the CPU or a GPU; its trained tensors are replaced.
        path: as of `load_model`.

    Raises InputError naming the options or the backbone that differ.
    """
    adapters = find_adapters(Path(path))
    theirs, source = describe_checkpoint(adapters)
    differing = _differing(theirs, model.config)
    of_head = {"task", *to_dict(theirs.head), *to_dict(model.config.head)}
    if others := [text for name, text in differing.items() if name not in of_head]:
        raise InputError(f"{path} cannot start this model: {summary(others, 3)}")
    sha256, own = source["sha256"], model.backbone_source["sha256"]
    if sha256 != own:
        raise InputError(
            f"{path} cannot start this model: it was trained on the backbone {sha256[:12]}…, here {own[:12]}…"
        )
    tensors, shapes = model.trained_tensors(), read_shapes(adapters)
    if differing:
        tensors = {name: tensor for name, tensor in tensors.items() if name.startswith(_ENCODER)}
        shapes = {name: shape for name, shape in shapes.items() if name.startswith(_ENCODER)}
    check_shapes(tensors, shapes, adapters)
    read = read_tensors(adapters)
    load_tensors(tensors, {name: read[name] for name in shapes}, adapters)
    return Started(adapters, summary(list(differing.values()), 3) if differing else "")


def describe_checkpoint(path: str | Path) -> tuple[ModelConfig, dict[str, Any]]:
    """Return the configuration of a checkpoint, and the source of its backbone; no tensors are read.

    `path` is as of `load_model`. Raises InputError when there is no checkpoint or its description is damaged.
    """
    adapters = find_adapters(Path(path))
    description = _read_description(adapters)
    try:
        return ModelConfig.from_dict(description["config"]), description["backbone"]
    except InputError as error:
        raise InputError(f"{adapters}: {error}") from error


def _differing(theirs: ModelConfig, ours: ModelConfig) -> dict[str, str]:
    """Return the options that decide trained tensors and differ, each with both values, kinds first."""
    one, other = theirs.options(), ours.options()
    kinds = ("task", "backbone", "adapter")
    return {
        name: f"{name} {one.get(name)!r}, here {other.get(name)!r}"
        for name in sorted(one.keys() | other.keys(), key=lambda name: (name not in kinds, name))
        if one.get(name) != other.get(name) and name not in _WITHOUT_SHAPE
    }


def find_adapters(path: Path) -> Path:
    """Return the file of trained tensors in a checkpoint or run folder. Raises InputError without one."""
    folders = (path, path / "checkpoints" / "best", path / "checkpoints" / "last")
    for candidate in (path, *(folder / ADAPTERS for folder in folders)):
        if candidate.is_file():
            return candidate
    raise InputError(
        f"{path}: no checkpoint; expected a folder with {ADAPTERS}, or that file, or a run folder"
    )


def _read_description(adapters: Path) -> dict[str, Any]:
    """Return the header of `adapters`; `model.json` beside it must say the same, if it is there."""
    beside = adapters.parent / DESCRIPTION
    read = adapters
    try:
        description = parse_json(read_metadata(adapters).get("stgcma", ""), where="its description")
        read = beside
        most = MOST_HEADER_BYTES
        same = not beside.is_file() or description == parse_json(
            read_file(beside, most_bytes=most), where="its content"
        )
    except InputError as error:
        raise InputError(f"{read}: no readable description in it ({error})") from error
    if not same:
        raise InputError(
            f"{beside}: not what the header of {ADAPTERS} says, which was written with it; "
            "one of them comes from another checkpoint, or was edited"
        )
    if fault := _fault(description):
        raise InputError(f"{adapters}: {fault}")
    return description  # type: ignore[no-any-return]  # a dict, as was just checked


def _fault(description: Any) -> str | None:
    """Return the fault of a description, as far as the configuration does not check itself."""
    if not isinstance(description, dict) or description.get("format_version") != FORMAT_VERSION:
        version = description.get("format_version") if isinstance(description, dict) else None
        return f"checkpoint format {version!r}, expected {FORMAT_VERSION}"
    config, source = description.get("config"), description.get("backbone")
    if not isinstance(config, dict) or not isinstance(source, dict):
        name, value = ("backbone", source) if isinstance(config, dict) else ("config", config)
        return f"description: {name} is {value!r}, expected fields"
    if source.get("kind") not in _KINDS:
        return f"description: backbone.kind is {source.get('kind')!r}, expected one of {', '.join(_KINDS)}"
    # Without its weights, a backbone that was read from a file would be drawn at random.
    for name in ("sha256", "file" if source["kind"] in KEPT_KINDS else "weights"):
        if not isinstance(source.get(name), str) or not source[name]:
            return f"description: backbone.{name} is {source.get(name)!r}, expected text"
    if "file" in source and Path(str(source["file"])).name != BACKBONE:
        return f"description: backbone.file is {source['file']!r}, expected a path to a {BACKBONE}"
    return None
