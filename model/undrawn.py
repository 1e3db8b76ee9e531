"""Modules on the meta device without the drawing of their weights, which takes longer than all else there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch.overrides import TorchFunctionMode

# What the initial weights of torch's and timm's modules are drawn with.
_FILLING = frozenset({"normal_", "uniform_", "erfinv_", "mul_", "add_", "clamp_"})


class Undrawn(TorchFunctionMode):
    """Leaves out the drawing of weights: tensors on the meta device have no values."""

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__name__", "") in _FILLING:
            return args[0] if args else kwargs["tensor"]  # as torch.nn.init passes it
        return func(*args, **(kwargs or {}))


def undrawn(device: Any) -> AbstractContextManager[Any]:
    """Return the context in which modules are built on `device`: `Undrawn` on meta."""
    return Undrawn() if device == "meta" else nullcontext()
