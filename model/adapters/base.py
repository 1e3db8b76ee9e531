"""The interface between a frozen block and the adapter that is trained in it.

A backbone family shows its block as a `FrozenBlock`, which knows how the tokens of both modalities lie in one
tensor. An adapter method is a `BlockAdapter`, which reads and writes tokens through it and so needs no code
for a family. A method that adds nothing computes

    x = frozen.add(x, frozen.proj(frozen.attend(frozen.norm1(x)).whole))
    x = frozen.add_tokens(x, frozen.mlp(frozen.norm2(x)))
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class BlockSite:
    """The position of a block in its backbone: stage, index in the stage, width D, attention heads."""

    stage: int
    index: int
    width: int
    heads: int


class Attended(NamedTuple):
    """Attention within each frame and each segment, before its projection, in the attention layout."""

    whole: Tensor
    """All modalities in one tensor `[..., D]`, which the projection takes."""
    parts: list[Tensor]
    """The same per modality, `[..., N, D]`; `grouped` brings tokens that saw each other to that `N`."""


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
    """

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

    def norm1(self, x: Tensor) -> Tensor:
        """Apply the norm before the attention: `x` → the same layout."""
        n: Tensor = self.block.norm1(x)
        return n

    def norm2(self, x: Tensor) -> Tensor:
        """Apply the norm before the MLP: `x` → the same layout."""
        n: Tensor = self.block.norm2(x)
        return n

    def mlp(self, n: Tensor) -> Tensor:
        """Apply the MLP: any `[..., D]` → the same."""
        z: Tensor = self.block.mlp(n)
        return z

    @property
    def proj(self) -> nn.Linear:
        """The attention's projection; its input and output are in the attention layout."""
        layer: nn.Linear = self.block.attn.proj
        return layer

    def attend(self, n: Tensor) -> Attended:
        """Attend within each frame and segment: token layout → attention layout, before the projection."""
        return self.core(self.block.attn.qkv(self.group(n)))

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

    def attend_over_time(self, n: Tensor, biases: Sequence[Tensor] = ()) -> list[Tensor]:
        """Attend over the time steps at each token position, projection included.

        Args:
            n: tokens in the layout of `x`.
            biases: of each modality `[1, heads, T, T]`; none at all for attention without a bias.

        Returns:
            `[columns, T, D]` per modality, as `to_time`.
        """
        columns, sizes = self.to_time(n)
        attn = self.block.attn
        q, k, v = project_qkv(columns, attn)
        if biases or self.frame_mask is not None:
            masks = self._time_masks(biases or [None] * len(sizes))
            parts = zip(*(torch.split(x, sizes) for x in (q, k, v)), masks, strict=True)
            attended = torch.cat(
                [functional.scaled_dot_product_attention(q, k, v, attn_mask=mask) for q, k, v, mask in parts]
            )
        else:
            attended = functional.scaled_dot_product_attention(q, k, v)
        return list(torch.split(attn.proj(attended.transpose(1, 2).flatten(2)), sizes))

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


def project_qkv(x: Tensor, attn: Any) -> tuple[Tensor, ...]:
    """Project `[G, N, D]` to queries, keys and values, each `[G, heads, N, D / heads]`."""
    G, N, _ = x.shape
    qkv: Tensor = attn.qkv(x).view(G, N, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
    return qkv.unbind(0)


class BlockAdapter(nn.Module, ABC):
    """The trained part of one block. All its parameters are trained; its buffers are in the checkpoint."""

    @abstractmethod
    def forward(self, x: Tensor, frozen: FrozenBlock) -> Tensor:
        """Compute the adapted block: tokens in the layout of `frozen` → the same."""
