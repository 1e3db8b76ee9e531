"""A model's parameters by group, its arithmetic and memory, without computing anything.

Parameters and arithmetic are counted on the meta device. Memory is the highest sum of live tensors while one
clip goes through a model of fake tensors, which have shapes and lifetimes but no content.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from .config import ModelConfig, option_names
from .network import STGCMA
from .presets import preset_config
from .records import InputSpec
from .undrawn import Undrawn

_ADAM_STATES = 2


@dataclass(frozen=True)
class ModelSummary:
    """One model's account. Memory is for float32, one clip and one device."""

    config: ModelConfig
    parameters: dict[str, int]
    """Parameters of the groups `frozen`, `adapter` and `head`."""
    trainable: int
    total: int
    forward_gflops: float
    """10⁹ floating-point operations of an evaluation forward pass; a multiply-add counts as two."""
    forward_bytes: int
    """Weights and the activations that are alive at once, evaluation."""
    training_bytes: int
    """Weights, activations, gradients and Adam's two states, one training step."""

    def to_dict(self) -> dict[str, Any]:
        """Return the account as JSON has it.

        The configuration is given as flat options; those of other tasks and families are null.
        """
        options = dict.fromkeys(option_names()) | self.config.options()
        account = {name: value for name, value in vars(self).items() if name != "config"}
        return {"config": options, **account}


def describe(model: str | ModelConfig | STGCMA, **overrides: Any) -> ModelSummary:
    """Count the parameters, operations and memory of a model; nothing is allocated or computed.

    Args:
        model: the name of a preset, a configuration or a model.
        overrides: options that are changed first, as in `ModelConfig.replace`.

    Raises:
        InputError: an unknown preset or option, or a value that does not fit.
    """
    if isinstance(model, str):
        config = preset_config(model, **overrides)
    else:
        config = (model.config if isinstance(model, STGCMA) else model).replace(**overrides)
    parameters = count_parameters(config)
    return ModelSummary(
        config=config,
        parameters=parameters,
        trainable=parameters["adapter"] + parameters["head"],
        total=sum(parameters.values()),
        forward_gflops=_forward_flops(config) / 1e9,
        forward_bytes=4 * sum(parameters.values()) + _peak_bytes(config, training=False),
        training_bytes=count_training_bytes(config, parameters),
    )


def count_training_bytes(config: ModelConfig, parameters: Mapping[str, int] | None = None) -> int:
    """Return `training_bytes` of the account alone; `parameters` are those of `count_parameters`."""
    parameters = parameters or count_parameters(config)
    trainable = parameters["adapter"] + parameters["head"]
    weights = 4 * (sum(parameters.values()) + _ADAM_STATES * trainable)
    return weights + _peak_bytes(config, training=True)


def count_parameters(config: ModelConfig) -> dict[str, int]:
    """Count the parameters of the groups `frozen`, `adapter` and `head`."""
    model = _on_meta(config)
    groups = {name: _size(group) for name, group in model.parameter_groups().items()}
    return {"frozen": _size(model.frozen_tensors()), **groups}


def _size(tensors: dict[str, Any]) -> int:
    return sum(tensor.numel() for tensor in tensors.values())


def _on_meta(config: ModelConfig) -> STGCMA:
    with torch.device("meta"), Undrawn():
        return STGCMA(config, backbone_device="meta")


def _inputs(config: ModelConfig, device: str, *, training: bool) -> dict[str, Tensor]:
    """Return empty inputs of one clip; optional ones only for training."""
    shapes: dict[str, Any] = config.input_shapes(1)
    specs = {name: config.head_inputs.get(name, InputSpec(())) for name in shapes}
    dtypes = {name: torch.int64 if spec.integers else torch.float32 for name, spec in specs.items()}
    return {
        name: torch.zeros(shape, device=device, dtype=dtypes[name])
        for name, shape in shapes.items()
        # A mask of frames takes no memory: clips have all frames.
        if not specs[name].booleans and (training or not specs[name].optional)
    }


def _forward_flops(config: ModelConfig) -> int:
    # The counter hooks what requires a gradient, and fails at a view of a parameter that has none here.
    model = _on_meta(config).eval().requires_grad_(False)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(**_inputs(config, "meta", training=False))
    return counter.get_total_flops()


def _peak_bytes(config: ModelConfig, *, training: bool) -> int:
    """Return the peak of the live tensors that a pass over one clip makes, weights not counted."""
    model = _on_meta(config).train(training)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cpu")
        inputs = _inputs(config, "cpu", training=training)
        tracker = _LiveBytes([*model.parameters(), *model.buffers()])
        with tracker, torch.set_grad_enabled(training):
            outputs = model(**inputs)
            if training:
                total = torch.stack([output.sum() for output in outputs.values()]).sum()
                torch.autograd.backward(total)
    return tracker.peak


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's base is untyped
    """Sums the storages that operations make, from their creation to their release.

    Views of the `weights` are not counted.
    """

    def __init__(self, weights: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self.weights = {tensor.untyped_storage()._cdata for tensor in weights}
        self.known: dict[int, weakref.finalize[Any, Any]] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], _types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._note, result)
        return result

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.known and key not in self.weights:
            size = storage.nbytes()
            self.known[key] = weakref.finalize(storage, self._release, key, size)
            self.live += size
            self.peak = max(self.peak, self.live)

    def _release(self, key: int, size: int) -> None:
        del self.known[key]
        self.live -= size
