"""Attention of trained queries over frozen tokens, of which little is kept for the backward pass."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

_EPS = 1e-5


def without_weight(x: Tensor) -> Tensor:
    """Normalise `[..., D]` without weight and bias."""
    return functional.layer_norm(x, x.shape[-1:], eps=_EPS)


def read_frozen(query: Tensor, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `softmax(q·nᵀ / √D)·n` with `n = LN(x)`, without a gradient for x.

    For the gradient of the queries, n is kept in 16 bits where it is computed in 32.

    Args:
        query: `[..., K, D]`.
        x: `[..., N, D]`.
        dtype: of the products.

    Returns:
        `[..., K, D]`.
    """
    if torch.compiler.is_compiling():  # a compiler decides for itself what to keep
        n = without_weight(x.detach()).to(dtype)
        return functional.scaled_dot_product_attention(query.to(dtype), n, n)
    read: Tensor = _FrozenRead.apply(query, x, dtype)  # type: ignore[no-untyped-call]
    return read


class _FrozenRead(torch.autograd.Function):
    """Attention whose keys and values are the same frozen tensor."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, x: Tensor, dtype: torch.dtype) -> Tensor:
        n = without_weight(x).to(dtype)
        # Scaled first: the products of fp16 could overflow.
        scores = (query / math.sqrt(n.shape[-1])).to(dtype) @ n.mT
        weights = torch.softmax(scores, -1, dtype=query.dtype)
        if ctx.needs_input_grad[0]:
            # Normalised values are at most √D, so half precision has room for them.
            ctx.save_for_backward(weights, n.half() if dtype == torch.float32 else n)
        return weights.to(dtype) @ n

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weights, kept = ctx.saved_tensors
        n = kept.to(weights.dtype)
        of_weights = gradient.to(n.dtype) @ n.mT
        mean = (weights * of_weights).sum(-1, keepdim=True)
        of_scores = weights * (of_weights - mean)
        return of_scores @ n / math.sqrt(n.shape[-1]), None, None
