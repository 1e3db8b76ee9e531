"""Frozen weights in the number format of the activations.

Under autocast, torch casts the weights of a linear layer or a convolution in every pass, and keeps a copy for
the backward pass. It remembers casts only of weights that are trained. Frozen ones can be cast once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .network import STGCMA

# Layers whose inputs and weights autocast casts to the lower precision, on every device.
_CAST_LAYERS = (nn.Linear, nn.Conv2d)


def cast_frozen(model: STGCMA, dtype: torch.dtype, *, keep: bool) -> None:
    """Cast the weights of the frozen layers that autocast would cast in every pass, to `dtype`.

    Outputs and gradients under autocast with `dtype` are the same bits. Normalisations, position embeddings
    and everything that is trained stay float32.

    Args:
        model: on its device.
        dtype: of the activations; nothing is cast to float32.
        keep: keep the float32 values on the CPU, for checkpoints that store the backbone.
    """
    if dtype == torch.float32:
        return
    side: Any = model.encoder.side
    if side is not None and side.computes_in_bf16(next(model.encoder.parameters()).device):
        dtype = torch.bfloat16
    for name, weight in _cast_weights(model):
        if keep:
            model.full_precision[name] = weight.detach().cpu()
        weight.data = weight.data.to(dtype)


def _cast_weights(model: STGCMA) -> Iterator[tuple[str, Tensor]]:
    for name, module in model.named_modules():
        if type(module) in _CAST_LAYERS:
            for part, weight in module.named_parameters(recurse=False):
                if not weight.requires_grad and weight.dtype == torch.float32:
                    yield f"{name}.{part}", weight
