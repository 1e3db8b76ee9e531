"""The parts that all encoders share: output, trained parameters, recomputation in the backward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..adapters import ADAPTERS
from ..adapters.base import BlockSite, FrozenBlock, FrozenOnly
from ..adapters.recomputation import recomputation
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

    def run_block(self, adapter: nn.Module, x: Tensor, frozen: FrozenBlock) -> Tensor:
        """Compute an adapted block; with `checkpointing`, keep only its input for the backward pass.

        The generators are rewound for the second run, so DropPath drops the same rows again; adapters can
        tell the second run from the first with `recomputing()`.
        """
        if self.config.checkpointing and self.training and torch.is_grad_enabled():
            if torch.compiler.is_compiling():  # a compiler takes no contexts
                return checkpoint(adapter, x, frozen, use_reentrant=False)  # type: ignore[no-any-return]
            return checkpoint(adapter, x, frozen, use_reentrant=False, context_fn=_contexts)  # type: ignore[no-any-return]
        y: Tensor = adapter(x, frozen)
        return y


def _contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of the first and of the second run of a block under `checkpointing`."""
    return nullcontext(), recomputation()


def audio_kernel(image: Tensor, record: BackboneConfig) -> Tensor:
    """Return the audio stem's kernel `[D, 1, p, p]` for the image stem's `[D, 3, p, p]`."""
    return image.sum(1, keepdim=True) if record.audio_stem == "sum" else image.mean(1, keepdim=True)


def make_adapters(
    config: ModelConfig, stage: int, blocks: Iterable[Any], frozen: type[FrozenBlock]
) -> nn.ModuleList:
    """Build the trained parts of a stage's blocks, timm's `blocks`, which the class `frozen` shows."""
    backbone = config.backbone
    make = ADAPTERS[config.adapter.method].block
    width, heads = backbone.widths[stage], backbone.heads[stage]
    sites = [BlockSite(stage, i, width, heads, frozen.layers(block)) for i, block in enumerate(blocks)]
    return nn.ModuleList(make(config, site) if make is not None else FrozenOnly() for site in sites)
