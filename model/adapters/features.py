"""Outputs of frozen layers, which an adapter can project without that autograd keeps them.

Autograd saves the input of a trained layer for the gradient of its weights. Where that input is the output of
a frozen layer, the frozen layer's own input does as well, and it is kept for the backward pass in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import timm.layers
import torch
from timm.layers import Mlp, QuickGELU
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class Features:
    """Features `[..., D]` of one modality: a tensor that is there.

    `through` is the way to a trained linear layer; `value` serves everything else.
    """

    def __init__(self, value: Tensor) -> None:
        self._value = value

    @property
    def value(self) -> Tensor:
        """The features themselves."""
        return self._value

    def through(self, layer: nn.Linear) -> Tensor:
        """Apply a trained linear layer: `[..., D]` → `[..., h]`."""
        y: Tensor = layer(self.value)
        return y

    def in_shape(self, *leading: int) -> Features:
        """Return the features with other leading dimensions."""
        return Features(self._value.view(*leading, self._value.shape[-1]))


class LinearOutput(Features):
    """The output of a frozen linear layer, given its input.

    `W1·(W·x + b)` is computed as `(W1·W)·x + W1·b`: the gradient of W1 then needs x, which attention keeps
    for its own backward pass anyway, and the layer's output need not be kept as well.
    """

    def __init__(self, x: Tensor, frozen: nn.Linear) -> None:
        self._x, self._frozen = x, frozen

    @property
    def value(self) -> Tensor:
        """The layer's output, computed each time."""
        y: Tensor = self._frozen(self._x)
        return y

    def through(self, layer: nn.Linear) -> Tensor:
        """Apply a trained linear layer: `[..., D]` → `[..., h]`."""
        weight = layer.weight @ self._frozen.weight
        bias: Tensor = layer.bias
        if self._frozen.bias is not None:
            bias = layer.weight @ self._frozen.bias + bias
        return functional.linear(self._x, weight, bias)

    def in_shape(self, *leading: int) -> Features:
        """Return the features with other leading dimensions."""
        return LinearOutput(self._x.view(*leading, self._x.shape[-1]), self._frozen)


class MlpOutput(Features):
    """The output of a frozen MLP, with the MLP's inner values, both `[rows, …]`."""

    def __init__(self, value: Tensor, inner: Tensor, mlp: Any, leading: Sequence[int] = (-1,)) -> None:
        super().__init__(value)
        self._inner, self._mlp, self._leading = inner, mlp, tuple(leading)

    @property
    def value(self) -> Tensor:
        """The MLP's output."""
        return self._value.view(*self._leading, self._value.shape[-1])

    def through(self, layer: nn.Linear) -> Tensor:
        """Apply a trained linear layer: `[..., D]` → `[..., h]`."""
        u: Tensor = _LinearOfMlp.apply(self._value, self._inner, self._mlp, layer.weight, layer.bias)  # type: ignore[no-untyped-call]
        return u.view(*self._leading, u.shape[-1])

    def in_shape(self, *leading: int) -> Features:
        """Return the features with other leading dimensions."""
        return MlpOutput(self._value, self._inner, self._mlp, leading)


def mlp_with_features(n: Tensor, mlp: Any, rows: Sequence[int]) -> tuple[Tensor, list[Features]]:
    """Apply a frozen MLP to both modalities.

    Args:
        n: `[rows, D]`, one modality after the other.
        mlp: timm's.
        rows: the number of rows of each modality.

    Returns:
        `z = mlp(n)` `[rows, D]`, and the features of each modality, `[rows_m, D]`.
    """
    # A compiler decides for itself what to keep.
    if torch.compiler.is_compiling() or not torch.is_grad_enabled() or not _is_plain(mlp):
        z: Tensor = mlp(n)
        return z, [Features(part) for part in torch.split(z, list(rows))]
    z, inner = _FrozenMlp.apply(n, mlp, list(rows))  # type: ignore[no-untyped-call]
    parts = zip(torch.split(z, list(rows)), torch.split(inner, list(rows)), strict=True)
    return z, [MlpOutput(part, inside, mlp) for part, inside in parts]


def _is_plain(mlp: Any) -> bool:
    """Return whether an MLP is `fc2(act(fc1(n)))` with an activation whose derivative is known here."""
    if type(mlp) is not Mlp or type(mlp.act) not in _DERIVATIVES or mlp.drop1.p or mlp.drop2.p:
        return False
    linear = all(type(layer) is nn.Linear and layer.bias is not None for layer in (mlp.fc1, mlp.fc2))
    return linear and isinstance(mlp.norm, nn.Identity)


class _FrozenMlp(torch.autograd.Function):
    """A frozen MLP that returns its inner values too, `[rows, 4·D]`, for `_LinearOfMlp`.

    One modality is computed at a time, so that only half of the widest tensors exist at once.
    """

    @staticmethod
    def forward(ctx: Any, n: Tensor, mlp: Any, rows: list[int]) -> tuple[Tensor, Tensor]:
        inner: Tensor = mlp.fc1(n)
        z = torch.cat([mlp.fc2(mlp.act(part)) for part in torch.split(inner, rows)])
        ctx.mlp, ctx.rows = mlp, rows
        ctx.save_for_backward(inner)
        ctx.mark_non_differentiable(inner)
        # Else zeros in the size of the inner values are made as their gradient.
        ctx.set_materialize_grads(False)
        return z, inner

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dz: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        (inner,) = ctx.saved_tensors
        if dz is None:
            return None, None, None
        # Under autocast the forward pass was in half precision, and the backward pass is in the same.
        mlp = ctx.mlp
        fc1, fc2 = mlp.fc1.weight.to(inner.dtype), mlp.fc2.weight.to(inner.dtype)
        derivative = _DERIVATIVES[type(mlp.act)]
        dn = inner.new_empty(len(inner), fc1.shape[1])
        hidden = inner.new_empty(max(ctx.rows), inner.shape[1])  # of one modality after the other
        for dn_m, dz_m, inner_m in zip(*(torch.split(t, ctx.rows) for t in (dn, dz, inner)), strict=True):
            of_inner = torch.mm(dz_m, fc2, out=hidden[: len(dz_m)])
            torch.mm(derivative(mlp.act, inner_m, of_inner), fc1, out=dn_m)
        return dn, None, None


class _LinearOfMlp(torch.autograd.Function):
    """A trained linear layer of a frozen MLP's output z, for whose gradient z is not saved.

    Autograd would save z for the gradient of W1, `duᵀ·z`. With `z = W·a + b` and `a = act(inner)` that is
    `(duᵀ·a)·Wᵀ + Σ du ⊗ b`, where the inner values are needed for the MLP's own gradient in any case.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, inner: Tensor, mlp: Any, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.mlp = mlp
        ctx.save_for_backward(inner, weight)
        return functional.linear(z, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, du: Tensor) -> tuple[Tensor | None, ...]:
        inner, weight = ctx.saved_tensors
        fc2, bias = ctx.mlp.fc2.weight.to(inner.dtype), ctx.mlp.fc2.bias.to(inner.dtype)
        total = du.sum(0)
        dweight = torch.addmm(torch.outer(total, bias), du.T @ ctx.mlp.act(inner), fc2.T)
        return du @ weight.to(inner.dtype), None, None, dweight, total


def _quick_gelu_backward(_: Any, x: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient of `x·s` with `s = σ(1.702·x)`: `s + 1.702·x·s·(1 − s)` times the output's."""
    s = torch.sigmoid(1.702 * x)
    slope = torch.addcmul(s, s, (1 - s).mul_(x), value=1.702)
    return slope.mul_(gradient)


def _gelu_backward(act: Any, x: Tensor, gradient: Tensor) -> Tensor:
    """Write the gradient of GELU, in the form that the activation has, over that of its output."""
    return torch.ops.aten.gelu_backward.grad_input(  # type: ignore[no-any-return]
        gradient, x, approximate=getattr(act, "approximate", "none"), grad_input=gradient
    )


_DERIVATIVES: dict[type, Callable[[Any, Tensor, Tensor], Tensor]] = {
    QuickGELU: _quick_gelu_backward,
    nn.GELU: _gelu_backward,
    timm.layers.GELU: _gelu_backward,
}
"""Of the activations: the activation, its input, the gradient of its output → that of its input.

The gradient of the output may be overwritten."""
