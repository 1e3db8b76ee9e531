"""What both encoder families share: the output, what is trained, recomputation in the backward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..config import ModelConfig


class Encoded(NamedTuple):
    """What an encoder hands to a head. Modalities are `video` and `audio`."""

    pooled: dict[str, Tensor]
    """One vector per time step, `[B, T, D]`."""
    tokens: dict[str, Tensor]
    """Swin: the tokens after the final norm, `[B, T, N, D]`."""
    stages: list[Tensor]
    """Swin: the frames' maps `[B·T, H, W, D]` before each downsampling; the last after the final norm."""


class Encoder(nn.Module, ABC):
    """A frozen backbone with trained parts in and around it.

    Subclasses hold the frozen weights in `backbone` (timm's module, timm's names) and in `audio_*`, and
    declare in `trained_modules` what is trained; everything else is frozen.
    """

    config: ModelConfig
    backbone: Any

    @abstractmethod
    def trained_modules(self) -> dict[str, nn.Module]:
        """The modules whose parameters are trained, by their name inside the encoder."""

    @abstractmethod
    def derive_audio(self) -> None:
        """Fills the frozen audio parts from the backbone's image parts."""

    @abstractmethod
    def forward(self, inputs: Mapping[str, Tensor]) -> Encoded:
        """Encodes `video` `[B, T, 3, H, W]` and/or `audio` `[B, T, F, M]`."""

    def encode_frozen(self, video: Tensor) -> Tensor:
        """Frames through the frozen backbone alone; only Swin is ever asked."""
        raise NotImplementedError(f"{type(self).__name__} encodes no frames without adapters")

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The trained parameters, by name."""
        for prefix, module in self.trained_modules().items():
            yield from module.named_parameters(prefix=prefix)

    def freeze(self) -> None:
        """Takes the gradient from everything that is not declared as trained."""
        self.requires_grad_(False)
        for _, parameter in self.trained():
            parameter.requires_grad_(True)

    def run_block(self, block: Callable[..., Tensor], *inputs: Any) -> Tensor:
        """Calls `block(*inputs)`; with `checkpointing`, keeps only its inputs for the backward pass.

        The generators are rewound for the second run, so DropPath drops the same rows again.
        """
        if self.config.checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(block, *inputs, use_reentrant=False)  # type: ignore[no-any-return]
        return block(*inputs)
