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
from ..adapters.base import BlockSite, FrozenBlock, FrozenOnly, SideAdapter, SidePass
from ..adapters.recomputation import recomputation
from ..config import ModelConfig
from ..records import FRAME_MASK, BackboneConfig


class Encoded(NamedTuple):
    """The output of an encoder. Modalities are `video` and `audio`.

    A field that the backbone's record does not list in `provides`, or the head not in `needs`, may be empty.
    """

    pooled: dict[str, Tensor]
    """One vector per time step, `[B, T, D]`."""
    tokens: dict[str, Tensor]
    """The tokens after the final norm, `[B, T, N, D]`."""
    stages: list[Tensor]
    """Four maps of the frames `[B·T, H, W, D]`, the last after the final norm.

    Of a hierarchical backbone before each downsampling, of a plain one evenly spaced in depth.
    """


class Encoder(nn.Module, ABC):
    """A frozen backbone with trained parts in and around it.

    Subclasses hold the frozen weights in `backbone` (timm's module, timm's names) and in `audio_*`, and
    declare in `trained_modules` what is trained; everything else is frozen.
    """

    config: ModelConfig
    backbone: Any
    side: SideAdapter | None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        make = ADAPTERS[config.adapter.method].side
        self.side = make(config) if make is not None else None  # type: ignore[assignment]  # by contract

    @abstractmethod
    def trained_modules(self) -> dict[str, nn.Module]:
        """Return the modules whose parameters are trained, by their name inside the encoder."""

    @abstractmethod
    def derive_audio(self) -> None:
        """Fill the frozen audio parts from the backbone's image parts."""

    @abstractmethod
    def run_blocks(self, inputs: Mapping[str, Tensor], side_pass: SidePass | None = None) -> Any:
        """Run stems and blocks; returns what `read_out` takes. `run_block` gets the `side_pass`."""

    @abstractmethod
    def read_out(self, blocks: Any) -> Encoded:
        """Apply the final norm to the result of `run_blocks`, and pool."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Encoded:
        """Encode `video` `[B, T, 3, H, W]` and/or `audio` `[B, T, F, M]`.

        With a `frame_mask` `[B, T]` bool, attention over time leaves out the frames that are False.
        """
        if self.side is None:
            return self.read_out(self.run_blocks(inputs))
        device = inputs[self.config.modalities[0]].device
        side_pass = SidePass(self.side, device, inputs.get(FRAME_MASK))
        with torch.no_grad(), self.side.context(device):
            blocks = self.run_blocks(inputs, side_pass)
        return beside(self.side, side_pass.state, self.read_out(blocks))

    def named_blocks(self, blocks: Any) -> dict[str, Tensor]:
        """Return what `read_out` reads of the result of `run_blocks`, each tensor `[B, T, …]`, by name.

        Families whose outputs can be stored implement it, and `blocks_from`.
        """
        raise NotImplementedError(f"{type(self).__name__} names no outputs that could be stored")

    def blocks_from(self, named: Mapping[str, Tensor]) -> Any:
        """Return the argument of `read_out` from the result of `named_blocks`."""
        raise NotImplementedError(f"{type(self).__name__} names no outputs that could be stored")

    @property
    def stored_video(self) -> str:
        """Name of the tensor of `named_blocks` that `stored_tokens` takes."""
        raise NotImplementedError(f"{type(self).__name__} names no outputs that could be stored")

    def stored_tokens(self, blocks: Tensor) -> Tensor:
        """Return what `encode_frozen` returns for the frames that `blocks`, `stored_video`, were made of.

        Without DropPath. Families that implement `encode_frozen` and `named_blocks` implement it.
        """
        raise NotImplementedError(f"{type(self).__name__} names no outputs that could be stored")

    def encode_frozen(self, video: Tensor) -> Tensor:
        """Return the tokens `[B, T, N, D]` of frames `[B, T, 3, H, W]` after the frozen backbone alone.

        Families whose records provide `tokens` implement it.
        """
        raise NotImplementedError(f"{type(self).__name__} encodes no frames without adapters")

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the trained parameters, by name."""
        for prefix, module in self._all_trained().items():
            yield from module.named_parameters(prefix=prefix)

    def trained_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the buffers of the trained modules, by name; the frozen backbone's are not among them."""
        for prefix, module in self._all_trained().items():
            yield from module.named_buffers(prefix=prefix)

    def _all_trained(self) -> dict[str, nn.Module]:
        side = {"side": self.side} if self.side is not None else {}
        return self.trained_modules() | side

    def freeze(self) -> None:
        """Turn the gradient off for everything that is not declared as trained."""
        self.requires_grad_(False)
        for _, parameter in self.trained():
            parameter.requires_grad_(True)

    def run_block(
        self,
        adapter: nn.Module,
        x: Tensor,
        frozen: FrozenBlock,
        side_pass: SidePass | None = None,
        *,
        is_wide: bool = False,
    ) -> Tensor:
        """Compute an adapted block, and show its output to the `side_pass`.

        With `checkpointing`, only the block's input is kept for the backward pass. The generators are
        rewound for the second run, so DropPath drops the same rows again; adapters can tell the second run
        from the first with `recomputing()`. A block that `is_wide`, with far more activations than others for
        the same arithmetic, is always computed so, but by a compiler, which decides for itself what to keep.
        """
        compiling = torch.compiler.is_compiling()
        twice = self.config.checkpointing or (is_wide and not compiling)
        if not (twice and self.training and torch.is_grad_enabled()):
            y: Tensor = adapter(x, frozen)
        elif compiling:  # a compiler takes no contexts
            y = checkpoint(adapter, x, frozen, use_reentrant=False)
        else:
            y = checkpoint(adapter, x, frozen, use_reentrant=False, context_fn=_contexts)
        if side_pass is not None:
            side_pass.after_block(y, frozen)
        return y


def _contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of the first and of the second run of a block under `checkpointing`."""
    return nullcontext(), recomputation()


def beside(side: SideAdapter, state: Any, frozen: Encoded) -> Encoded:
    """Return the frozen encoder's output with what the side network adds."""
    B, T = next(iter(frozen.pooled.values())).shape[:2]
    maps = {f"stage{i}": x.view(B, T, -1, x.shape[-1]) for i, x in enumerate(frozen.stages)}
    if "video" in frozen.tokens:
        maps["tokens"] = frozen.tokens["video"]
    pooled, maps = side.finish(state, frozen.pooled, maps)
    return Encoded(
        pooled=pooled,
        tokens=frozen.tokens | ({"video": maps["tokens"]} if "tokens" in maps else {}),
        stages=[maps[f"stage{i}"].view(x.shape) for i, x in enumerate(frozen.stages)],
    )


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
