"""A frozen block of a plain vision transformer, over tokens that lie one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from timm.layers import GluMlp, SwiGLU, apply_rot_embed_cat
from torch import Tensor, nn
from torch.nn import functional

from ..adapters.base import Attended, FrozenBlock


class Span(NamedTuple):
    """One modality's part of the flat tokens: `B·T·N` rows."""

    clips: int
    steps: int
    tokens: int

    @property
    def rows(self) -> int:
        """The number of tokens."""
        return self.clips * self.steps * self.tokens


def split(x: Tensor, spans: Sequence[Span]) -> list[Tensor]:
    """Flat `[rows, D]` → one view `[B, T, N, D]` per modality."""
    parts = torch.split(x, [span.rows for span in spans])
    return [part.view(*span, x.shape[-1]) for part, span in zip(parts, spans, strict=True)]


class FlatBlock(FrozenBlock):
    """A ViT block over flat tokens `[rows, D]`; a frame or a segment with its prefix tokens is one group.

    `block` is a `Block` or an `EvaBlock` of timm. Prefix tokens are the class token and the registers; they
    come first and have no rotary position. Attention over time has none either.
    """

    def __init__(
        self,
        block: Any,
        spans: Sequence[Span],
        *,
        prefix: int = 1,
        class_token: bool = True,
        rotary: Sequence[Tensor | None] | None = None,
        frame_mask: Tensor | None = None,
    ) -> None:
        """`rotary` holds each modality's sines and cosines `[N − prefix, 2·D/heads]`, or None."""
        super().__init__(
            block,
            steps=spans[0].steps,
            rows=[span.rows for span in spans],
            tokens=[span.tokens for span in spans],
            parallel=False,
            frame_mask=frame_mask,
        )
        self.spans, self.prefix, self.class_token = spans, prefix, class_token
        self.rotary = list(rotary) if rotary is not None else [None] * len(spans)
        self.after_attention, self.after_mlp = layer_scale(block, 1), layer_scale(block, 2)

    def copied(self) -> FlatBlock:
        return type(self)(
            self.block,
            self.spans,
            prefix=self.prefix,
            class_token=self.class_token,
            rotary=self.rotary,
            frame_mask=self.frame_mask,
        )

    def slices(self, budget: int) -> Iterator[tuple[slice, FlatBlock]]:
        first, width = 0, self.block.norm1.weight.numel()
        for span, rotary in zip(self.spans, self.rotary, strict=True):
            frames = span.clips * span.steps
            most = max(1, budget // (span.tokens * width))
            for start in range(0, frames, most):
                part = Span(1, min(most, frames - start), span.tokens)
                block = type(self)(
                    self.block,
                    [part],
                    prefix=self.prefix,
                    class_token=self.class_token,
                    rotary=[rotary],
                )
                yield slice(first, first + part.rows), block
                first += part.rows

    @classmethod
    def layers(cls, block: Any) -> dict[str, nn.Module]:
        attn, mlp = block.attn, block.mlp
        layers = {"norm1": block.norm1, **_present(attn, ("qkv", "q_proj", "k_proj", "v_proj"))}
        layers |= {"attn_norm": attn.norm, "proj": attn.proj, "norm2": block.norm2}
        layers |= _present(mlp, ("fc1", "fc1_g", "fc1_x"))
        layers |= {"mlp_norm": mlp.norm, "fc2": mlp.fc2}
        return {name: layer for name, layer in layers.items() if not isinstance(layer, nn.Identity)}

    def mlp(self, n: Tensor) -> Tensor:
        if self.edit is None:
            return super().mlp(n)
        mlp = self.block.mlp
        if isinstance(mlp, SwiGLU):
            gate = mlp.act(self._apply("fc1_g", mlp.fc1_g, n))
            inner: Tensor = gate * self._apply("fc1_x", mlp.fc1_x, n)
        else:
            inner = self._apply("fc1", mlp.fc1, n)
            if isinstance(mlp, GluMlp):
                first, second = inner.chunk(2, dim=-1)
                inner = first * mlp.act(second) if mlp.gate_last else mlp.act(first) * second
            else:
                inner = mlp.act(inner)
        z = self._apply("fc2", mlp.fc2, self._apply_if_any("mlp_norm", mlp.norm, inner))
        return z if self.after_mlp is None else self.after_mlp(z)

    def _apply_if_any(self, name: str, module: nn.Module, x: Tensor) -> Tensor:
        return x if isinstance(module, nn.Identity) else self._apply(name, module, x)

    def attend(self, n: Tensor) -> Attended:
        return self.core(self._qkv(n))

    def _qkv(self, n: Tensor) -> Tensor:
        """Project `[..., D]` to queries, keys and values `[..., 3·D]`."""
        attn = self.block.attn
        if attn.qkv is None:
            names = ("q_proj", "k_proj", "v_proj")
            return torch.cat([self._apply(name, getattr(attn, name), n) for name in names], -1)
        if getattr(attn, "q_bias", None) is not None:  # EVA's keys have no bias
            bias = torch.cat([attn.q_bias, attn.k_bias, attn.v_bias])
            return self._apply("qkv", partial(functional.linear, weight=attn.qkv.weight, bias=bias), n)
        return self._apply("qkv", attn.qkv, n)

    def group(self, n: Tensor) -> Tensor:
        return n

    def core(self, qkv: Tensor) -> Attended:
        """Flat `[rows, 3·D]` → flat `[rows, D]`, and `[B·T, N, D]` per modality."""
        attended = []
        for part, rotary in zip(split(qkv, self.spans), self.rotary, strict=True):
            q, k, v = self._heads(part.flatten(0, 1))
            if rotary is not None:
                q, k = self._rotate(q, rotary), self._rotate(k, rotary)
            attended.append(super().merge(functional.scaled_dot_product_attention(q, k, v)))
        whole = self.join_attended(attended)
        if isinstance(self.block.attn.norm, nn.Identity):
            return Attended(whole, attended)
        whole = self._apply("attn_norm", self.block.attn.norm, whole)
        return Attended(whole, self.parts(whole))

    def heads(self, x: Tensor) -> tuple[Tensor, ...]:
        return self._heads(self._qkv(x))

    def _heads(self, qkv: Tensor) -> tuple[Tensor, ...]:
        """`[G, N, 3·D]` → normalised queries and keys, and values, each `[G, heads, N, D/heads]`."""
        attn = self.block.attn
        G, N, _ = qkv.shape
        q, k, v = qkv.view(G, N, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return attn.q_norm(q), attn.k_norm(k), v

    def _rotate(self, x: Tensor, rotary: Tensor) -> Tensor:
        half = getattr(self.block.attn, "rotate_half", False)
        turned = apply_rot_embed_cat(x[:, :, self.prefix :], rotary, half=half)
        return torch.cat([x[:, :, : self.prefix], turned], dim=2).type_as(x)

    def merge(self, attended: Tensor) -> Tensor:
        merged: Tensor = self.block.attn.norm(super().merge(attended))
        return merged

    def parts(self, grouped: Tensor) -> list[Tensor]:
        return [part.flatten(0, 1) for part in self.split(grouped)]

    def grouped(self, u: Tensor) -> Tensor:
        return u

    def join_attended(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.cat([part.flatten(0, -2) for part in parts])

    def add(self, x: Tensor, *updates: Tensor) -> Tensor:
        for update in updates:
            x = x + update
        return x

    def summary(self, tokens: Tensor) -> Tensor:
        """Return the class token, or the mean of the patches where there is none: `[F, N, D]` → `[F, D]`."""
        return tokens[:, 0] if self.class_token else tokens[:, self.prefix :].mean(1)

    def split(self, x: Tensor) -> list[Tensor]:
        return split(x, self.spans)

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        return self.join_attended(parts)

    def add_tokens(self, x: Tensor, *updates: Tensor) -> Tensor:
        return self.add(x, *updates)

    def to_time(self, n: Tensor) -> tuple[Tensor, list[int]]:
        columns = [part.transpose(1, 2).flatten(0, 1) for part in self.split(n)]
        return torch.cat(columns), [column.shape[0] for column in columns]

    def from_time(self, columns: Sequence[Tensor]) -> Tensor:
        parts = []
        for (B, T, N), column in zip(self.spans, columns, strict=True):
            parts.append(column.view(B, N, T, -1).transpose(1, 2).flatten(0, 2))
        return torch.cat(parts)


def layer_scale(block: Any, branch: int) -> Callable[[Tensor], Tensor] | None:
    """Return the LayerScale of the attention (branch 1) or of the MLP (branch 2); None without one."""
    scale = getattr(block, f"gamma_{branch}", None)
    if scale is not None:
        return partial(torch.mul, scale)
    layer: nn.Module = getattr(block, f"ls{branch}", nn.Identity())
    return None if isinstance(layer, nn.Identity) else layer


def _present(module: nn.Module, names: Sequence[str]) -> dict[str, nn.Module]:
    """Return the layers of a module by name, without those that it does not have."""
    return {name: layer for name in names if isinstance(layer := getattr(module, name, None), nn.Module)}
