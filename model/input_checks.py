"""Checks of a model's inputs against its configuration."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import InputError
from .config import ModelConfig
from .frozen_features import Layout, shape_of, values_of
from .records import FRAME_MASK, InputSpec

# The dtypes that autocast works with. Float64 is refused: it is more likely a forgotten conversion.
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


def check_explain(config: ModelConfig, explain: bool) -> None:
    """Refuse `explain` for a head that does not explain."""
    if explain and not config.head.explains:
        raise InputError(f"explain: given, but this {config.task} model takes no questions")


def check_inputs(
    config: ModelConfig,
    given: Mapping[str, Tensor],
    owner: Tensor | None = None,
    *,
    stored: Layout | None = None,
    frames: str = "",
) -> dict[str, Tensor]:
    """Return `given`. Raises InputError for an input that is missing, unknown, or of a wrong shape or dtype.

    Args:
        config: of the model.
        given: the inputs by name, as in `config.input_shapes()`.
        owner: int64 `[Q]`, the clip of each row of the inputs that are per question.
        stored: the layout of `features`, which are then taken in place of video and audio.
        frames: name of the stored tensor that is taken in place of frames of other clips.
    """
    shapes, specs = config.input_shapes(), config.head_inputs
    if stored is not None:
        specs = config.head.inputs(shape_of(stored, frames)) if specs else {}
        shapes = {"features": ("B", values_of(stored))}
        shapes |= {name: ("B", *spec.shape) for name, spec in specs.items()}
    for name, tensor in {**given, "owner": owner}.items():
        if tensor is not None and not isinstance(tensor, Tensor):
            raise InputError(f"{name}: {type(tensor).__name__}, expected a tensor")
    if owner is not None:
        _check_owner(owner, config)
    if unwanted := [name for name in given if name not in shapes]:
        raise InputError(f"{unwanted[0]}: given, but this {config.task} model takes {', '.join(shapes)}")
    batch = None
    for name, shape in shapes.items():
        spec = specs.get(name, InputSpec(()))
        if name not in given:
            if spec.optional:
                continue
            raise InputError(f"{name}: missing, expected a tensor {_show(shape)}")
        actual = tuple(given[name].shape)
        if batch is None and len(actual) == len(shape) and actual[0] > 0:
            batch = actual[0]
        rows = len(owner) if owner is not None and spec.per == "questions" else batch
        if rows is None or actual != (rows, *shape[1:]):
            wanted = shape if rows is None else (rows, *shape[1:])
            raise InputError(f"{name}: shape {_show(actual)}, expected {_show(wanted)}")
        _check_dtype(name, given[name], spec)
    for name, spec in specs.items():
        if name in given and spec.below is not None:
            _check_range(name, given[name], *spec.below)
    if FRAME_MASK in given:
        _check_frames(given[FRAME_MASK])
    if owner is not None and batch is not None:
        _check_range("owner", owner, batch, "number of clips")
    return dict(given)


def _check_dtype(name: str, tensor: Tensor, spec: InputSpec) -> None:
    allowed: tuple[torch.dtype, ...] = _FLOATS
    wanted = "float32 (or float16, bfloat16)"
    if spec.integers or spec.booleans:
        allowed, wanted = ((torch.int64,), "int64") if spec.integers else ((torch.bool,), "bool")
    if tensor.dtype not in allowed:
        raise InputError(f"{name}: dtype {str(tensor.dtype)[6:]}, expected {wanted}")


def _check_range(name: str, indices: Tensor, size: int, what: str) -> None:
    """Refuse an index out of range, for tensors on the CPU.

    Reading values waits for a GPU, and a compiler's stand-ins have none.
    """
    if torch.compiler.is_compiling() or type(indices) is not Tensor or indices.device.type != "cpu":
        return
    wrong = indices[(indices < 0) | (indices >= size)]
    if len(wrong):
        raise InputError(f"{name}: {int(wrong[0])}, expected 0 to {size - 1}: the {what} is {size}")


def _check_frames(mask: Tensor) -> None:
    """Refuse a clip without a frame, for tensors on the CPU: nothing could attend over time to anything."""
    if torch.compiler.is_compiling() or type(mask) is not Tensor or mask.device.type != "cpu":
        return
    empty = (~mask.any(1)).nonzero()
    if len(empty):
        raise InputError(f"{FRAME_MASK}: clip {int(empty[0])} has no frame, expected one or more of a clip")


def _check_owner(owner: Tensor, config: ModelConfig) -> None:
    if all(spec.per != "questions" for spec in config.head_inputs.values()):
        raise InputError(f"owner: given, but this {config.task} model takes no questions")
    if owner.dim() != 1 or owner.dtype != torch.int64 or len(owner) == 0:
        raise InputError(
            f"owner: {str(owner.dtype)[6:]} of shape {_show(tuple(owner.shape))}, "
            "expected int64 [Q], one or more questions"
        )


def _show(shape: tuple[int | str, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
