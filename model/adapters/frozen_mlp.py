"""A frozen MLP whose output is adapted, without keeping that output for the adapters' gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


def mlp_and_down(
    n: Tensor, mlp: Any, downs: Sequence[nn.Linear], rows: Sequence[int]
) -> tuple[Tensor, list[Tensor]]:
    """Apply a frozen MLP and, to its output, the first layer of each modality's adapter.

    Args:
        n: `[rows, D]`, one modality after the other.
        mlp: timm's, with `fc1`, `act`, `fc2`.
        downs: the adapters' first layers, D → h.
        rows: the number of rows of each modality.

    Returns:
        `z = mlp(n)` `[rows, D]`, and `W1·z + b1` `[rows_m, h]` for each modality.
    """
    # A compiler decides for itself what to keep, and cannot trace the generator of gradients below.
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        z: Tensor = mlp(n)
        return z, [down(part) for down, part in zip(downs, torch.split(z, list(rows)), strict=True)]
    trained = [parameter for down in downs for parameter in (down.weight, down.bias)]
    z, *hidden = _MlpAndDown.apply(n, mlp, list(rows), *trained)  # type: ignore[no-untyped-call]
    return z, hidden


class _MlpAndDown(torch.autograd.Function):
    """Save only the MLP's inner values for the backward pass.

    Autograd would save z for the gradient of W1, `duᵀ·z`. With `z = W·a + b` and `a = act(inner)` that is
    `(duᵀ·a)·Wᵀ + Σ du ⊗ b`, where the inner values are needed for the MLP's own gradient in any case. One
    modality is computed at a time, so that only half of the widest tensors exist at once.
    """

    @staticmethod
    def forward(ctx: Any, n: Tensor, mlp: Any, rows: list[int], *trained: Tensor) -> tuple[Tensor, ...]:
        inner: Tensor = mlp.fc1(n)
        z = torch.cat([mlp.fc2(mlp.act(part)) for part in torch.split(inner, rows)])
        hidden = [
            functional.linear(part, weight, bias)
            for part, weight, bias in zip(torch.split(z, rows), trained[::2], trained[1::2], strict=True)
        ]
        ctx.mlp, ctx.rows = mlp, rows
        ctx.save_for_backward(inner, *trained[::2])
        return z, *hidden

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dz: Tensor, *dus: Tensor) -> tuple[Tensor | None, ...]:
        inner, *weights = ctx.saved_tensors
        # Under autocast the forward pass was in half precision, and the backward pass is in the same.
        mlp = ctx.mlp
        fc1, fc2, bias = (t.to(inner.dtype) for t in (mlp.fc1.weight, mlp.fc2.weight, mlp.fc2.bias))
        gradients: list[Tensor | None] = []
        dn = torch.empty(len(inner), fc1.shape[1], dtype=inner.dtype, device=inner.device)
        parts = zip(*(torch.split(t, ctx.rows) for t in (dn, dz, inner)), dus, weights, strict=True)
        for dn_m, dz_m, inner_m, du, weight in parts:
            da = torch.addmm(dz_m, du, weight.to(inner.dtype)) @ fc2
            a, dinner = _activation_and_gradient(mlp.act, inner_m, da)
            torch.mm(dinner, fc1, out=dn_m)
            total = du.sum(0)
            gradients += [torch.addmm(torch.outer(total, bias), du.T @ a, fc2.T), total]
        return dn, None, None, *gradients


def _activation_and_gradient(
    activation: Callable[[Tensor], Tensor], x: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor]:
    """Return `activation(x)` and the gradient with respect to x, given that of the result."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = activation(x)
    return y.detach(), torch.autograd.grad(y, x, gradient)[0]
