"""The norms of each block are trained, with weights of its own for each modality; nothing else changes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..config import ModelConfig
from ..records import AdapterConfig, AdapterMethod
from .base import BlockAdapter, BlockSite, FrozenBlock, Layer


@dataclass(frozen=True, kw_only=True)
class LayernormConfig(AdapterConfig):
    """Trained norms; there are no options."""

    method = "layernorm"


class TrainedNorm(nn.Module):
    """The change of one norm's weight and bias, both `[D]` and zero at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, frozen: nn.LayerNorm) -> Tensor:
        """Normalise `[..., D]` with the changed weight and bias of `frozen`."""
        weight, bias = frozen.weight + self.weight, frozen.bias + self.bias
        return functional.layer_norm(x, frozen.normalized_shape, weight, bias, frozen.eps)


class LayernormBlock(BlockAdapter):
    """The trained norms of one block, per modality."""

    def __init__(self, config: ModelConfig, site: BlockSite) -> None:
        super().__init__()
        self.norms = nn.ModuleDict(
            {
                modality: nn.ModuleDict(
                    {
                        name: TrainedNorm(layer.normalized_shape[0])
                        for name, layer in site.layers.items()
                        if isinstance(layer, nn.LayerNorm)
                    }
                )
                for modality in config.modalities
            }
        )

    def forward(self, x: Tensor, frozen: FrozenBlock) -> Tensor:
        edited = frozen.edited(self._normalise)
        return edited.run_mlp(edited.run_attention(x))

    def _normalise(self, layer: Layer, x: Tensor) -> Tensor:
        """Compute a layer of the block; each norm with the weights of each modality."""
        trained = [norms[layer.name] for norms in self.norms.values() if layer.name in norms]  # type: ignore[operator,index]
        if not trained:
            y: Tensor = layer.module(x)
            return y
        parts = zip(trained, layer.split(x), strict=True)
        return layer.join([norm(part, layer.module) for norm, part in parts])


ADAPTER = AdapterMethod(config=LayernormConfig, block=LayernormBlock)
