"""Adapter checkpoints: what is trained, what it was trained on, and nothing twice.

A checkpoint folder holds `adapters.safetensors` (the trained tensors and the head's buffers) and
`model.json` (the configuration and where the frozen backbone comes from, with its sha256). A backbone that
cannot be had elsewhere, drawn at random or imported, is kept beside it in `backbone.safetensors`.
`adapters.safetensors` carries the same JSON in its header, so that the file alone is enough.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import InputError
from .config import ModelConfig
from .network import STGCMA

ADAPTERS, BACKBONE, DESCRIPTION = "adapters.safetensors", "backbone.safetensors", "model.json"
FORMAT_VERSION = 1
KEPT_KINDS = ("random", "imported")
"""Backbones that nobody else can give back."""


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """A digest of names, dtypes, shapes and values, whatever the order and the device."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """The digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_checkpoint(model: STGCMA, folder: str | Path, *, backbone_folder: str | Path | None = None) -> None:
    """Writes a checkpoint into `folder`; the same model gives the same bytes.

    Args:
        model: the model to save.
        folder: made where it does not exist. Each file in it is replaced atomically.
        backbone_folder: where a random or imported backbone is kept, once for all checkpoints that name the
            same folder; `folder` by default.

    Raises:
        InputError: `backbone_folder` already keeps another backbone.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    source = dict(model.backbone_source)
    if source["kind"] in KEPT_KINDS:
        kept = _keep_backbone(model, folder, backbone_folder)
        source["file"] = Path(os.path.relpath(kept, folder)).as_posix()
    description = {"format_version": FORMAT_VERSION, "config": model.config.to_dict(), "backbone": source}
    text = json.dumps(description, indent=2, sort_keys=True) + "\n"
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.trained_tensors().items()}
    _write_tensors(folder / ADAPTERS, tensors, {"stgcma": text})
    _write_atomically(folder / DESCRIPTION, lambda path: path.write_text(text, encoding="utf-8"))


def _keep_backbone(model: STGCMA, folder: Path, backbone_folder: str | Path | None) -> Path:
    kept = Path(backbone_folder or folder) / BACKBONE
    sha256 = model.backbone_source["sha256"]
    if kept.exists():
        with safe_open(kept, framework="pt") as file:
            existing = (file.metadata() or {}).get("sha256")
        if existing == sha256:
            return kept
        if backbone_folder is not None:
            raise InputError(f"backbone_folder: {kept} keeps another backbone (sha256 {existing})")
    kept.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.backbone_tensors().items()}
    _write_tensors(kept, tensors, {"sha256": sha256})
    return kept


def load_model(path: str | Path, weights: str | Path | None = None) -> STGCMA:
    """The model of a checkpoint, in evaluation mode, on the CPU.

    Args:
        path: a checkpoint folder, its `adapters.safetensors`, or a run folder (its `checkpoints/best`, else
            `checkpoints/last`).
        weights: where the backbone's weights are now, if not where the checkpoint says; as in `build_model`.

    Raises:
        InputError: something is missing or damaged, or the backbone is not the one that was trained on.
    """
    from .build import fill_backbone

    adapters = _find_adapters(Path(path))
    description = _read_description(adapters)
    config = ModelConfig.from_dict(description["config"])
    source = description["backbone"]
    model = STGCMA(config, backbone_device="meta")
    if source["kind"] in KEPT_KINDS and weights is None:
        kept = adapters.parent / source["file"]
        if not kept.is_file():
            raise InputError(f"{kept}: missing; the checkpoint {adapters.parent} keeps its backbone there")
        weights = kept
    fill_backbone(model, weights if weights is not None else source["weights"], source["kind"])
    if model.backbone_source["sha256"] != source["sha256"]:
        raise InputError(
            f"{adapters}: trained on the backbone {source['sha256'][:12]}… ({source['kind']}), "
            f"refusing {model.backbone_source['sha256'][:12]}… from {weights or source['weights']}"
        )
    model.backbone_source = {name: value for name, value in source.items() if name != "file"}
    load_tensors(model.trained_tensors(), read_tensors(adapters), adapters)
    return model.eval()


def load_tensors(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], path: Path) -> None:
    """Copies every tensor of `given` into the one of the same name; both sides must match exactly."""
    faults = [f"missing {name}" for name in wanted if name not in given]
    faults += [f"unknown {name}" for name in given if name not in wanted]
    faults += [
        f"{name} has shape {list(given[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    if faults:
        raise InputError(f"{path}: {summary(faults)}")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(given[name])


def summary(faults: list[str], most: int = 12) -> str:
    """Faults on one line; the first `most` in full, the rest counted."""
    return "; ".join(faults[:most]) + (f"; and {len(faults) - most} more" if len(faults) > most else "")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from error


def _find_adapters(path: Path) -> Path:
    folders = (path, path / "checkpoints" / "best", path / "checkpoints" / "last")
    for candidate in (path, *(folder / ADAPTERS for folder in folders)):
        if candidate.is_file():
            return candidate
    raise InputError(
        f"{path}: no checkpoint; expected a folder with {ADAPTERS}, or that file, or a run folder"
    )


def _read_description(adapters: Path) -> dict[str, Any]:
    beside = adapters.parent / DESCRIPTION
    try:
        if beside.is_file():
            text = beside.read_text(encoding="utf-8")
        else:
            with safe_open(adapters, framework="pt") as file:
                text = (file.metadata() or {}).get("stgcma", "")
        description: dict[str, Any] = json.loads(text)
        version = description["format_version"]
        source = description["backbone"]
        missing = {"kind", "sha256"} - source.keys()
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{adapters}: no readable description in it or in {DESCRIPTION} ({error})"
        ) from error
    if version != FORMAT_VERSION or missing:
        raise InputError(f"{adapters}: checkpoint format {version!r}, expected {FORMAT_VERSION}")
    return description


def _write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    _write_atomically(path, lambda temporary: save_file(dict(tensors), temporary, metadata=metadata))


def _write_atomically(path: Path, write: Any) -> None:
    """Calls `write(temporary path)`, waits for the disk, then renames: a reader never sees half a file."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
