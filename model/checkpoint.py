"""Adapter checkpoints: what is trained, what it was trained on, and nothing twice.

A checkpoint folder holds `adapters.safetensors` (the trained tensors and the head's buffers) and
`model.json` (the configuration and where the frozen backbone comes from, with its sha256). A backbone that
cannot be had elsewhere, drawn at random or imported, is kept beside it in `backbone.safetensors`.
`adapters.safetensors` carries the same JSON in its header, so that the file alone is enough.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..errors import InputError
from .config import ModelConfig
from .network import STGCMA
from .tensor_files import load_tensors, read_tensors, write_atomically, write_tensors
from .weights import KEPT_KINDS, fill_backbone

ADAPTERS, BACKBONE, DESCRIPTION = "adapters.safetensors", "backbone.safetensors", "model.json"
FORMAT_VERSION = 1


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
    write_tensors(folder / ADAPTERS, tensors, {"stgcma": text})
    write_atomically(folder / DESCRIPTION, lambda path: path.write_text(text, encoding="utf-8"))


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
    write_tensors(kept, tensors, {"sha256": sha256})
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
    weights = source["weights"] if weights is None else weights
    fill_backbone(model, weights, kind=source["kind"])
    if model.backbone_source["sha256"] != source["sha256"]:
        raise InputError(
            f"{adapters}: trained on the backbone {source['sha256'][:12]}… ({source['kind']}), "
            f"refusing {model.backbone_source['sha256'][:12]}… from {weights}"
        )
    model.backbone_source = {name: value for name, value in source.items() if name != "file"}
    load_tensors(model.trained_tensors(), read_tensors(adapters), adapters)
    return model.eval()


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
