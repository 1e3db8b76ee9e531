"""The parts that all encoders share: output, trained parameters, recomputation in the backward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..adapters import ADAPTERS
from ..adapters.base import BlockSite
from ..config import ModelConfig
from ..records import BackboneConfig


class Encoded(NamedTuple):
    """The output of an encoder. Modalities are `video` and `audio`.

    A field that the backbone's record does not list in `provides` is empty.
    """

    pooled: dict[str, Tensor]
    """One vector per time step, `[B, T, D]`."""
    tokens: dict[str, Tensor]
    """The tokens after the final norm, `[B, T, N, D]`."""
    stages: list[Tensor]
    """The frames' maps `[B·T, H, W, D]` before each downsampling; the last after the final norm."""


class Encoder(nn.Module, ABC):
    """A frozen backbone with trained parts in and around it.

    Subclasses hold the frozen weights in `backbone` (timm's module, timm's names) and in `audio_*`, and
    declare in `trained_modules` what is trained; everything else is frozen.
    """

    config: ModelConfig
    backbone: Any

    @abstractmethod
    def trained_modules(self) -> dict[str, nn.Module]:
        """Return the modules whose parameters are trained, by their name inside the encoder."""

    @abstractmethod
    def derive_audio(self) -> None:
        """Fill the frozen audio parts from the backbone's image parts."""

    @abstractmethod
    def forward(self, inputs: Mapping[str, Tensor]) -> Encoded:
        """Encode `video` `[B, T, 3, H, W]` and/or `audio` `[B, T, F, M]`.

        With a `frame_mask` `[B, T]` bool, attention over time leaves out the frames that are False.
        """

    def encode_frozen(self, video: Tensor) -> Tensor:
        """Return the tokens `[B, T, N, D]` of frames `[B, T, 3, H, W]` after the frozen backbone alone.

        Families whose records provide `tokens` implement it.
        """
        raise NotImplementedError(f"{type(self).__name__} encodes no frames without adapters")

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the trained parameters, by name."""
        for prefix, module in self.trained_modules().items():
            yield from module.named_parameters(prefix=prefix)

    def trained_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the buffers of the trained modules, by name; the frozen backbone's are not among them."""
        for prefix, module in self.trained_modules().items():
            yield from module.named_buffers(prefix=prefix)

    def freeze(self) -> None:
        """Turn the gradient off for everything that is not declared as trained."""
        self.requires_grad_(False)
        for _, parameter in self.trained():
            parameter.requires_grad_(True)

    def run_block(self, block: Callable[..., Tensor], *inputs: Any) -> Tensor:
        """Call `block(*inputs)`; with `checkpointing`, keep only its inputs for the backward pass.

        The generators are rewound for the second run, so DropPath drops the same rows again.
        """
        if self.config.checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(block, *inputs, use_reentrant=False)  # type: ignore[no-any-return]
        return block(*inputs)


def audio_kernel(image: Tensor, record: BackboneConfig) -> Tensor:
    """Return the audio stem's kernel `[D, 1, p, p]` for the image stem's `[D, 3, p, p]`."""
    return image.sum(1, keepdim=True) if record.audio_stem == "sum" else image.mean(1, keepdim=True)


def make_adapters(config: ModelConfig, stage: int) -> nn.ModuleList:
    """Build the trained parts of a stage's blocks."""
    backbone = config.backbone
    make = ADAPTERS[config.adapter.method].block
    return nn.ModuleList(
        make(config, BlockSite(stage, index, backbone.widths[stage], backbone.heads[stage]))
        for index in range(backbone.depths[stage])
    )
