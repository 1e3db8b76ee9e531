"""The frozen weights: drawn, published, or read from a file.

A file may be OpenAI's CLIP `.pt` (a TorchScript archive, or a plain state dict), Microsoft's Swin `.pth`, or
timm's own names in `.pth` or `.safetensors`. Pickles are read with `weights_only=True`. A TorchScript archive
cannot be, so it is read for families alone whose weights are published as one (CLIP). `torch.jit.load` reads
it with an unpickler that knows only TorchScript's own types; but it compiles the archive's code and, while
reading, runs one kind of method, `__setstate__`. An archive with such a method is refused unread; of any
other only the state dict is used, and none of its code is run.
"""

from __future__ import annotations

import logging
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import Mlp
from torch import Tensor, nn

from ..errors import InputError, StgcmaError
from .backbones import FAMILIES
from .network import STGCMA
from .records import BackboneConfig
from .tensor_files import (
    check_shapes,
    file_sha256,
    load_tensors,
    read_shapes,
    read_tensors,
    tensors_sha256,
)
from .torch_files import check_archive, check_list, check_size, check_tensors

RANDOM = "random"
# Ends of parameters' names: of embeddings, and of factors that are 1 in a random backbone.
_EMBEDDINGS = ("pos_embed", "cls_token", "reg_token", "bias_table")
_SCALES = ("weight", "gamma", "gamma_1", "gamma_2")
# Swin V2's logarithm of the factor of cosines, by head: its value before training.
_LOG_SCALE = ("logit_scale", math.log(10))
KEPT_KINDS = ("random", "imported")
"""Backbone kinds that cannot be downloaded again, so checkpoints store them."""


def fill_backbone(model: STGCMA, weights: str | Path | None, *, kind: str | None = None) -> None:
    """Fill the frozen weights of a model built on the meta device, and record their source.

    Args:
        model: its `backbone_source` becomes `kind` (`random`, `timm`, `file` or `imported`), `weights` (the
            argument that loads them again), `sha256` (of the tensors), and further facts of the source.
        weights: as in `build_model`; for a checkpoint that stores its backbone, that file.
        kind: of a checkpoint's backbone; None for a new model.

    Raises:
        InputError: the file is missing, unreadable, or does not fit the backbone.
        StgcmaError: timm cannot get the published weights.
    """
    if weights is None or weights == RANDOM:
        materialise(model)
        draw_backbone(model)
    elif kind in KEPT_KINDS:
        model.backbone_source = {"kind": kind, "weights": None}
        # Compared before either side gets memory.
        check_shapes(model.backbone_tensors(), read_shapes(Path(weights)), Path(weights))
        materialise(model)
        load_tensors(model.backbone_tensors(), read_tensors(Path(weights)), Path(weights))
    else:
        _load_published(model, weights)
    if model.backbone_source["kind"] != "imported":
        model.encoder.derive_audio()
    model.backbone_source["sha256"] = tensors_sha256(model.backbone_tensors())


def materialise(model: STGCMA) -> None:
    """Allocate the frozen weights; timm's computed buffers are filled, the weights are not."""
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
    """Draw frozen weights from the configuration's seed; the global generator is not touched.

    Matrices have variance 1 / fan-in, and embeddings are of the patches' order of magnitude. With timm's
    own init (σ = 0.02) attention is uniform and a deep random network maps every image to nearly the same
    features, from which no adapter can learn anything.
    """
    generator = torch.Generator().manual_seed(model.config.backbone.seed)
    with torch.no_grad():
        for name, parameter in model.encoder.backbone.named_parameters():
            if name.endswith(_LOG_SCALE[0]):
                nn.init.constant_(parameter, _LOG_SCALE[1])
            elif parameter.ndim > 1:
                embedding = name.endswith(_EMBEDDINGS)
                std = 0.2 if embedding else 1 / math.sqrt(math.prod(parameter.shape[1:]))
                parameter.normal_(std=std, generator=generator)
            else:
                nn.init.constant_(parameter, 1.0 if name.endswith(_SCALES) else 0.0)
    model.backbone_source = {"kind": "random", "weights": None}


def _load_published(model: STGCMA, weights: str | Path) -> None:
    record = model.config.backbone
    if str(weights) == "timm":
        tensors = _timm_tensors(model)
        source = {"kind": "timm", "weights": "timm", "timm_name": record.timm_name}
    else:
        path = Path(weights).absolute()
        tensors = read_backbone(path, record)
        source = {"kind": "file", "weights": str(path), "file_sha256": file_sha256(path)}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    check_shapes(dict(model.encoder.backbone.named_parameters()), shapes, Path(str(weights)))
    materialise(model)
    load_tensors(dict(model.encoder.backbone.named_parameters()), tensors, Path(str(weights)))
    model.backbone_source = source


def _timm_tensors(model: STGCMA) -> dict[str, Tensor]:
    record = model.config.backbone
    if record.timm_name is None:
        raise InputError("weights: 'timm', but this architecture has no published weights; expected a file")
    try:
        with _quiet("huggingface_hub"):
            build = FAMILIES[record.family].published
            if build is not None:
                published = build(record)
            else:
                published = timm.create_model(record.timm_name, pretrained=True, num_classes=0)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise StgcmaError(
            f"weights 'timm': {record.timm_name} is not to be had ({reason}); "
            "give the file as model.weights, or null for random ones"
        ) from error
    # Parameters have the same names and shapes with any activation.
    expected, built = _activations(published), _activations(model.encoder.backbone)
    if expected != built:
        raise InputError(
            f"weights 'timm': {record.timm_name} is built with {expected}, the backbone with {built}; "
            "change model.activation or model.timm_name"
        )
    return dict(published.named_parameters())


def _activations(network: nn.Module) -> str:
    """Return the names of the activations of a network's MLPs."""
    return ", ".join(sorted({type(m.act).__name__ for m in network.modules() if isinstance(m, Mlp)}))


@contextmanager
def _quiet(library: str) -> Iterator[None]:
    """Silence a library's warnings, which repeat for each retry what the error says."""
    logger = logging.getLogger(library)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def read_backbone(path: Path, record: BackboneConfig) -> dict[str, Tensor]:
    """Read the backbone's parameters in a file of weights, under timm's names, as float32.

    Classifiers, the text tower and computed buffers are left out; what remains is not checked here.
    """
    family = FAMILIES[record.family]
    tensors = family.rename(read_state_dict(path, torchscript=family.torchscript), record)
    return {name: tensor.float() for name, tensor in tensors.items() if not name.startswith("head.")}


def read_state_dict(path: Path, *, torchscript: bool = False) -> dict[str, Tensor]:
    """Read a safetensors file, a pickle of tensors, or (with `torchscript`) a TorchScript archive.

    The wrappers `model` and `state_dict` are opened, and the prefix `module.` is removed.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected weights as .pt, .pth or .safetensors")
    check_size(path)
    if path.suffix == ".safetensors":
        return read_tensors(path)
    content = _unpickle(path, torchscript=torchscript)
    check_tensors(content, path)
    for wrapper in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: holds {type(content).__name__}, expected a state dict of tensors")
    odd = [
        str(name)
        for name, value in content.items()
        if not (isinstance(name, str) and isinstance(value, Tensor))
    ]
    if odd:
        raise InputError(f"{path}: {', '.join(odd[:5])}: no named tensors, expected a state dict of tensors")
    if all(name.startswith("module.") for name in content):
        content = {name.removeprefix("module."): value for name, value in content.items()}
    return dict(content)


def _unpickle(path: Path, *, torchscript: bool) -> Any:
    # Damaged bytes make these loaders fail with whatever error the bytes lead to, and torch's message for a
    # pickle that holds more than tensors advises to run its code: neither is passed on as the reason.
    try:
        script = False
        if zipfile.is_zipfile(path):
            check_list(path)
            script = _is_torchscript(path)
            check_archive(path, code=script)
        if not script:
            return torch.load(path, map_location="cpu", weights_only=True)
        if torchscript and not _runs_when_read(path):
            archive = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
            return archive.state_dict()
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path}: not readable as weights ({type(error).__name__}), damaged or more than tensors"
        ) from error
    if torchscript:
        raise InputError(f"{path}: TorchScript with a `__setstate__`, code that reading would run; refused")
    raise InputError(f"{path}: TorchScript, which only CLIP's weights come as; expected a pickle of tensors")


def _is_torchscript(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _runs_when_read(path: Path) -> bool:
    """Return whether a TorchScript archive has code that its reader runs.

    Every member with code is searched, of equal names each one: torch ignores the case of names.
    """
    with zipfile.ZipFile(path) as archive:
        code = [member for member in archive.infolist() if member.filename.lower().endswith(".py")]
        return any(b"__setstate__" in archive.read(member) for member in code)
