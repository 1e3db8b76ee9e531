"""The interface between a frozen block and the adapter that is trained in it.

A backbone family shows its block as a `FrozenBlock`, which knows how the tokens of both modalities lie in one
tensor. An adapter method is a `BlockAdapter`, which reads and writes tokens through it and so needs no code
for a family. A method that adds nothing computes `frozen.run(x)`, which is

    x = frozen.add(x, frozen.proj(frozen.attend(frozen.norm1(x)).whole))
    x = frozen.add_tokens(x, frozen.mlp(frozen.norm2(x)))

The block above has its norms before the attention and before the MLP. A block with norms after them
(Swin V2) returns `x` from `norm1` and `norm2`, and its `proj` and `mlp` end with these norms, so that the
same two lines compute it. Everywhere "what the block adds" is the update after such a norm.

Three kinds of methods are served:

* A method that adds to the residual stream computes these steps itself, and passes its updates to `add` and
  `add_tokens`. `project` and `mlp_output` return what the block adds as an `Output`, which an adapter can
  read without that autograd keeps it.
* A method that changes frozen layers passes an `Edit` to `edited`: the block then calls it in place of each
  of its layers.
* A method beside the backbone (`AdapterMethod.side`) changes no block and reads the blocks' outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from .features import Features, LinearOutput, mlp_with_features

# Of `FrozenBlock.run`, by device: on a CPU products of 500 rows are as fast as larger ones.
_SLICE_VALUES = {"cpu": 2**19}
_DEFAULT_SLICE_VALUES = 2**24


@dataclass(frozen=True)
class BlockSite:
    """The position of a block in its backbone: stage, index in the stage, width D, attention heads.

    `layers` are the block's frozen layers by the names that an `Edit` is called with. Their weights may not
    be filled yet.
    """

    stage: int
    index: int
    width: int
    heads: int
    layers: Mapping[str, nn.Module] = field(default_factory=dict)


class Layer(NamedTuple):
    """One frozen layer of a block as an `Edit` gets it.

    `split` divides a tensor like the layer's input or output by modality, `join` joins such parts. The first
    dimensions of a part are `[B, T, …]` or `[B·T, …]`, its last dimension holds the features.
    """

    name: str
    """`norm1`, `qkv`, `proj`, `norm2`, `fc1` or `fc2`; further ones of a family with other layers."""
    module: Any
    split: Callable[[Tensor], list[Tensor]]
    join: Callable[[Sequence[Tensor]], Tensor]


Edit = Callable[[Layer, Tensor], Tensor]
"""Computes a frozen layer with changes: the layer and its input → its output."""


class Attended(NamedTuple):
    """Attention within each frame and each segment, before its projection, in the attention layout."""

    whole: Tensor
    """All modalities in one tensor `[..., D]`, which the projection takes."""
    parts: list[Tensor]
    """The same per modality, `[..., N, D]`; `grouped` brings tokens that saw each other to that `N`."""


class Output(NamedTuple):
    """The update of the attention or of the MLP: what the frozen block adds to its residual stream."""

    whole: Tensor
    """All modalities in one tensor, for `add` or `add_tokens`."""
    parts: list[Features]
    """The same per modality, for adapters."""


_Block = TypeVar("_Block", bound="FrozenBlock")


class FrozenBlock(ABC):
    """One frozen block with the layout of the tokens that it is called with.

    Two layouts occur. The *token layout* is that of `x`, the residual stream. The *attention layout* is that
    of windows or frames inside the attention: `attend` and `add` lead there and back.

    Attributes:
        block: timm's block.
        rows: of each modality, its number of tokens `B·T·N`.
        tokens: of each modality, N.
        steps: T.
        parallel: the record's `parallel_unimodal`, in a model of one modality.
        frame_mask: `[B, T]` bool, False for the frames that pad a shorter clip; None for clips of T frames.
            Attention over time must not read them; everything else stays within a frame.
        edit: called in place of the frozen layers; None for the frozen layers themselves.
        after_attention, after_mlp: a frozen operation that the update passes before it is added, such as a
            scale or a norm; None without.
        scale: factor of the products of queries and keys over time; None for 1 / √(D / heads).
    """

    edit: Edit | None = None
    after_attention: Callable[[Tensor], Tensor] | None = None
    after_mlp: Callable[[Tensor], Tensor] | None = None
    scale: float | None = None

    def __init__(
        self,
        block: Any,
        *,
        steps: int,
        rows: list[int],
        tokens: list[int],
        parallel: bool,
        frame_mask: Tensor | None = None,
    ) -> None:
        self.block, self.steps, self.rows, self.tokens, self.parallel = block, steps, rows, tokens, parallel
        self.frame_mask = frame_mask

    @classmethod
    def layers(cls, block: Any) -> dict[str, nn.Module]:
        """Return the frozen layers of timm's block by the names that an `Edit` is called with."""
        return {
            "norm1": block.norm1,
            "qkv": block.attn.qkv,
            "proj": block.attn.proj,
            "norm2": block.norm2,
            "fc1": block.mlp.fc1,
            "fc2": block.mlp.fc2,
        }

    def edited(self: _Block, edit: Edit) -> _Block:
        """Return the same block with `edit` in place of its layers."""
        block = self.copied()
        block.edit = edit
        return block

    @abstractmethod
    def copied(self: _Block) -> _Block:
        """Return the same block, built anew without `edit`: a compiler traces no `copy.copy`."""

    def run(self, x: Tensor) -> Tensor:
        """Apply the frozen block to `x`, a few frames at a time where no gradient runs through it.

        That takes less memory: nothing is kept of the attention and of the MLP, which is the largest part.
        """
        budget = slice_budget(x)
        # A traced program that compared the number of values would hold for some numbers of clips only.
        if torch.compiler.is_compiling() or x.requires_grad or x.numel() <= budget:
            return self.run_mlp(self.run_attention(x))
        y = torch.empty(0)
        for rows, block in self.slices(budget):
            part = block.run_mlp(block.run_attention(x[rows]))
            y = part.new_empty(x.shape) if not len(y) else y
            y[rows] = part
        return y

    @abstractmethod
    def slices(self, budget: int) -> Iterator[tuple[slice, FrozenBlock]]:
        """Yield the rows of `x` of a few frames at a time, and the block for these rows alone.

        `budget` is the number of values that a slice should have at most; it has one frame at least.
        """

    def run_attention(self, x: Tensor) -> Tensor:
        """Add the attention within each frame and segment to `x`: the first half of the frozen block."""
        return self.add(x, self.proj(self.attend(self.norm1(x)).whole))

    def run_mlp(self, x: Tensor) -> Tensor:
        """Add the MLP to `x`: the second half of the frozen block."""
        return self.add_tokens(x, self.mlp(self.norm2(x)))

    def norm1(self, x: Tensor) -> Tensor:
        """Apply the norm before the attention, if there is one: `x` → the same layout."""
        return self._apply("norm1", self.block.norm1, x)

    def norm2(self, x: Tensor) -> Tensor:
        """Apply the norm before the MLP, if there is one: `x` → the same layout."""
        return self._apply("norm2", self.block.norm2, x)

    def mlp(self, n: Tensor) -> Tensor:
        """Apply the MLP: tokens in the layout of `x` → the same."""
        mlp = self.block.mlp
        if self.edit is None:
            z: Tensor = mlp(n)
        else:
            z = self._apply("fc2", mlp.fc2, mlp.act(self._apply("fc1", mlp.fc1, n)))
        return z if self.after_mlp is None else self.after_mlp(z)

    def mlp_output(self, n: Tensor) -> Output:
        """Apply the MLP, as `mlp`; the parts of the output are `[B·T, N, D]`, `whole` is `[rows, D]`."""
        if self.edit is None and self.after_mlp is None:
            z, parts = mlp_with_features(n.view(-1, n.shape[-1]), self.block.mlp, self.rows)
        else:
            z = self.mlp(n).view(-1, n.shape[-1])
            parts = [Features(part) for part in torch.split(z, self.rows)]
        frames = [part.in_shape(-1, tokens) for part, tokens in zip(parts, self.tokens, strict=True)]
        return Output(z, frames)

    def proj(self, attended: Tensor) -> Tensor:
        """Project the attention's output `Attended.whole`: attention layout → the same."""
        y = self._apply("proj", self.block.attn.proj, attended, grouped=True)
        return y if self.after_attention is None else self.after_attention(y)

    def project(self, attended: Attended) -> Output:
        """Project the attention's output, as `proj`; its parts are like `Attended.parts`."""
        y = self.proj(attended.whole)
        if self.edit is None and self.after_attention is None:
            layer = self.block.attn.proj
            return Output(y, [LinearOutput(part, layer) for part in attended.parts])
        return Output(y, [Features(part) for part in self.parts(y)])

    def attend(self, n: Tensor) -> Attended:
        """Attend within each frame and segment: token layout → attention layout, before the projection."""
        return self.core(self._apply("qkv", self.block.attn.qkv, self.group(n), grouped=True))

    def heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """Project `[G, N, D]` to queries, keys and values, each `[G, heads, N, D / heads]`, for any group."""
        return project_qkv(x, self.block.attn)

    def merge(self, attended: Tensor) -> Tensor:
        """Join the heads before the projection: `[G, heads, N, D / heads]` → `[G, N, D]`."""
        return attended.transpose(1, 2).flatten(2)

    def _apply(self, name: str, module: Any, x: Tensor, *, grouped: bool = False) -> Tensor:
        """Compute a frozen layer, edited where there is an edit; `grouped` in the attention layout."""
        if self.edit is None:
            y: Tensor = module(x)
            return y
        split, join = (self.parts, self.join_attended) if grouped else (self.split, self.join)
        return self.edit(Layer(name, module, split, join), x)

    @abstractmethod
    def group(self, n: Tensor) -> Tensor:
        """Bring tokens into the attention layout: token layout → `[..., D]`."""

    @abstractmethod
    def core(self, qkv: Tensor) -> Attended:
        """Attend with queries, keys and values `[..., 3·D]` in the attention layout."""

    @abstractmethod
    def parts(self, grouped: Tensor) -> list[Tensor]:
        """Split a tensor in the attention layout by modality."""

    @abstractmethod
    def grouped(self, u: Tensor) -> Tensor:
        """Exchange the dimensions of `Attended.parts` so that tokens that saw each other are in dimension −2.

        It is its own inverse.
        """

    @abstractmethod
    def join_attended(self, parts: Sequence[Tensor]) -> Tensor:
        """Join per-modality tensors like `Attended.parts` into one like `Attended.whole`."""

    @abstractmethod
    def add(self, x: Tensor, *updates: Tensor) -> Tensor:
        """Add updates in the attention layout to `x`."""

    @abstractmethod
    def split(self, x: Tensor) -> list[Tensor]:
        """Split `x` by modality, into `[B, T, N, D]`."""

    @abstractmethod
    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Join per-modality tensors `[B, T, N, D]`, or of as many tokens, into the layout of `x`."""

    @abstractmethod
    def add_tokens(self, x: Tensor, *updates: Tensor) -> Tensor:
        """Add updates, of as many tokens as `x` in its order, to `x`."""

    @abstractmethod
    def to_time(self, n: Tensor) -> tuple[Tensor, list[int]]:
        """Regroup `x`-like tokens to `[columns, T, D]`, a column for each clip and token position.

        Returns the columns, one modality after the other, and the number of each modality's.
        """

    @abstractmethod
    def from_time(self, columns: Sequence[Tensor]) -> Tensor:
        """Bring each modality's columns `[columns, T, D]` back into the layout of `x`."""

    def summary(self, tokens: Tensor) -> Tensor:
        """Return one vector of each frame or segment: `[F, N, D]` → `[F, D]`, the mean of its tokens."""
        return tokens.mean(1)

    def attend_over_time(self, n: Tensor, biases: Sequence[Tensor] = ()) -> list[Tensor]:
        """Attend over the time steps at each token position, projection included.

        Args:
            n: tokens in the layout of `x`.
            biases: of each modality `[1, heads, T, T]`; none at all for attention without a bias.

        Returns:
            `[columns, T, D]` per modality, as `to_time`.
        """
        columns, sizes = self.to_time(n)
        q, k, v = self.heads(columns)
        if biases or self.frame_mask is not None:
            masks = self._time_masks(biases or [None] * len(sizes))
            parts = zip(*(torch.split(x, sizes) for x in (q, k, v)), masks, strict=True)
            attended = torch.cat(
                [
                    functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=self.scale)
                    for q, k, v, mask in parts
                ]
            )
        else:
            attended = functional.scaled_dot_product_attention(q, k, v, scale=self.scale)
        y: Tensor = self.block.attn.proj(self.merge(attended))
        if self.after_attention is not None:
            y = self.after_attention(y)
        return list(torch.split(y, sizes))

    def _time_masks(self, biases: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Return the attention mask of each modality's columns: its bias, −inf for padding frames as keys.

        `[1, heads, T, T]` or None without padding; with it `[columns, heads or 1, T or 1, T]`.
        """
        if self.frame_mask is None:
            return list(biases)
        masks: list[Tensor | None] = []
        for bias, tokens in zip(biases, self.tokens, strict=True):
            is_frame = self.frame_mask.repeat_interleave(tokens, 0)[:, None, None]
            masks.append(is_frame if bias is None else bias.masked_fill(~is_frame, -torch.inf))
        return masks


def slice_budget(x: Tensor) -> int:
    """Return the number of values of a slice of `x` for passes without a gradient."""
    return _SLICE_VALUES.get(x.device.type, _DEFAULT_SLICE_VALUES)


def project_qkv(x: Tensor, attn: Any) -> tuple[Tensor, ...]:
    """Project `[G, N, D]` to queries, keys and values, each `[G, heads, N, D / heads]`."""
    G, N, _ = x.shape
    qkv: Tensor = attn.qkv(x).view(G, N, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
    return qkv.unbind(0)


def temporal_bias(table: Tensor, steps: int) -> Tensor:
    """Table `[2T−1, heads]` → bias `[1, heads, steps, steps]`, entry `i − j + T − 1` for query i and key j.

    `steps` is T, or less for shorter clips.
    """
    step = torch.arange(steps, device=table.device)
    return table[step[:, None] - step[None] + len(table) // 2].permute(2, 0, 1)[None]


class BlockAdapter(nn.Module, ABC):
    """The trained part of one block. All its parameters are trained; its buffers are in the checkpoint.

    A buffer that the forward pass changes must be changed only where `recomputing()` is False.
    """

    @abstractmethod
    def forward(self, x: Tensor, frozen: FrozenBlock) -> Tensor:
        """Compute the adapted block: tokens in the layout of `frozen` → the same."""


class SideAdapter(nn.Module, ABC):
    """A trained network beside the backbone, which runs without a gradient.

    Attributes:
        tapped: the indices, among all blocks, of those whose output it reads.
    """

    tapped: frozenset[int]

    @abstractmethod
    def context(self, device: torch.device) -> AbstractContextManager[Any]:
        """Return the context that the backbone runs in, such as that of another precision."""

    @abstractmethod
    def read(self, tap: int, x: Sequence[Tensor], state: Any, frame_mask: Tensor | None) -> Any:
        """Return the state after reading a block.

        Args:
            tap: number of the block among the tapped ones.
            x: the block's output `[B, T, N, D]` of each modality, without a gradient.
            state: of the tap before; None at first.
            frame_mask: that of `FrozenBlock`.
        """

    @abstractmethod
    def finish(
        self, state: Any, pooled: Mapping[str, Tensor], maps: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return pooled vectors `[B, T, D]` and maps `[B, T, N, D]` for the head, given the frozen ones."""


class SidePass:
    """One pass of a side network, which reads each block as soon as it is computed.

    It is made outside of the backbone's context, and computes with the gradient mode and the precision there.
    """

    def __init__(self, side: SideAdapter, device: torch.device, frame_mask: Tensor | None) -> None:
        self.state: Any = None
        self._side, self._frame_mask = side, frame_mask
        self._blocks = self._taps = 0
        self._gradient, self._autocast = torch.is_grad_enabled(), _current_autocast(device.type)

    def after_block(self, x: Tensor, frozen: FrozenBlock) -> None:
        """Take the output of the next block."""
        if self._blocks in self._side.tapped:
            with torch.set_grad_enabled(self._gradient), self._autocast():
                parts = frozen.split(x)
                self.state = self._side.read(self._taps, parts, self.state, self._frame_mask)
            self._taps += 1
        self._blocks += 1


def _current_autocast(device: str) -> Callable[[], AbstractContextManager[Any]]:
    """Return a maker of contexts with the precision that is in force now."""
    if not has_autocast(device):
        return nullcontext
    enabled, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    return partial(torch.autocast, device, dtype=dtype, enabled=enabled)


def has_autocast(device: str) -> bool:
    """Return whether a type of devices has autocast: all but meta, on which costs are counted."""
    return device != "meta"  # torch's function of that name cannot be compiled


class FrozenOnly(BlockAdapter):
    """The block of a method that trains nothing in it."""

    def forward(self, x: Tensor, frozen: FrozenBlock) -> Tensor:
        return frozen.run(x)
