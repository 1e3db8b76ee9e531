"""The encoder of plain vision transformers: a ViT, frozen, with adapted blocks for frames and spectrograms.

The tokens of both modalities lie one after the other in one flat `[rows, D]` tensor, the frames' first, so
that every frozen layer that works token by token runs once for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..adapters.base import SidePass
from ..config import ModelConfig
from ..records import FRAME_MASK
from .encoder import Encoded, Encoder, audio_kernel, make_adapters
from .flat_block import FlatBlock, Span, split

MAPS = 4
"""Number of maps that are taken from a plain transformer, evenly spaced in depth."""


class FlatEncoder(Encoder):
    """Frozen ViT with trained adapters, a trained final norm and, with attention over time, an embedding.

    `backbone` is a `VisionTransformer` or an `Eva` of timm, without a classifier. Prefix tokens (class token,
    registers) come first in both modalities, and pooling is timm's: the class token, or the mean of the
    patches.
    """

    def __init__(self, config: ModelConfig, backbone: Any, *, device: str) -> None:
        super().__init__(config)
        self.backbone = backbone
        record = config.backbone
        self.prefix: int = backbone.num_prefix_tokens
        if "audio" in config.modalities:
            bias = backbone.patch_embed.proj.bias is not None
            patch = record.patch
            self.audio_stem = nn.Conv2d(1, record.width, patch, stride=patch, bias=bias, device=device)
            if backbone.pos_embed is not None:
                rows = self._position_prefix + record.audio_grid[0] * record.audio_grid[1]
                self.audio_positions = nn.Parameter(torch.empty(1, rows, record.width, device=device))
        if getattr(backbone, "rope", None) is not None:
            for modality in config.modalities:
                self.register_buffer(f"rotary_{modality}", self._rotary(modality), persistent=False)
        # Like every trained part these follow the default device; only the frozen parts may start on meta.
        shape = (1, config.frames, record.width)
        modalities = config.modalities if config.adapter.temporal_embedding else ()
        self.temporal_embedding = nn.ParameterDict({m: torch.zeros(shape) for m in modalities})
        self.adapters = make_adapters(config, 0, backbone.blocks, FlatBlock)

    @property
    def _position_prefix(self) -> int:
        """Number of rows of the position table that belong to prefix tokens."""
        return 0 if self.backbone.no_embed_class else self.prefix

    @property
    def _norm_name(self) -> str:
        """Name of timm's last norm: `norm` before the pooling, or `fc_norm` after it."""
        return "fc_norm" if isinstance(self.backbone.norm, nn.Identity) else "norm"

    def _final(self, x: Tensor) -> Tensor:
        normed: Tensor = getattr(self.backbone, self._norm_name)(x)
        return normed

    def trained_modules(self) -> dict[str, nn.Module]:
        return {
            "temporal_embedding": self.temporal_embedding,
            "adapters": self.adapters,
            f"backbone.{self._norm_name}": getattr(self.backbone, self._norm_name),
        }

    @torch.no_grad()
    def derive_audio(self) -> None:
        """Fill the audio stem and the audio positions from the image's, and the rotary positions of both."""
        image, record = self.backbone.patch_embed, self.config.backbone
        if "audio" in self.config.modalities:
            self.audio_stem.weight.copy_(audio_kernel(image.proj.weight, record))
            if image.proj.bias is not None:
                self.audio_stem.bias.copy_(image.proj.bias)  # type: ignore[union-attr]  # built with a bias
            if self.backbone.pos_embed is not None:
                table = self.backbone.pos_embed
                grid, prefix = record.audio_grid, self._position_prefix
                self.audio_positions.copy_(audio_positions(table, image.grid_size, grid, prefix=prefix))
        if getattr(self.backbone, "rope", None) is not None:
            for modality in self.config.modalities:
                getattr(self, f"rotary_{modality}").copy_(self._rotary(modality))

    def _rotary(self, modality: str) -> Tensor:
        """Return a modality's sines and cosines: `[N, 2·D/heads]`, or `[depth, heads, N, 2·D/heads]`."""
        record = self.config.backbone
        side = record.image_size // record.patch
        shape = list(record.audio_grid) if modality == "audio" else [side, side]
        embedded: Tensor = self.backbone.rope.get_embed(shape=shape)
        return embedded.detach()

    def run_blocks(
        self, inputs: Mapping[str, Tensor], side_pass: SidePass | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        modalities = self.config.modalities
        stems = {m: self._stem(m, inputs[m]) for m in modalities}
        spans = [Span(*x.shape[:3]) for x in stems.values()]
        x = torch.cat([x.flatten(0, 2) for x in stems.values()])
        x = self.backbone.norm_pre(x)
        taken: list[int] = []
        if "stages" in self.config.head.needs:
            taken = taken_layers(len(self.backbone.blocks))
        stages: list[Tensor] = []
        for index, (block, adapter) in enumerate(zip(self.backbone.blocks, self.adapters, strict=True)):
            frozen = FlatBlock(
                block,
                spans,
                prefix=self.prefix,
                class_token=self.backbone.cls_token is not None,
                rotary=[self._block_rotary(m, index) for m in modalities],
                frame_mask=inputs.get(FRAME_MASK),
            )
            x = self.run_block(adapter, x, frozen, side_pass)
            if index in taken:  # a transformer of few blocks gives the same map several times
                stages += [self._map(split(x, spans)[0])] * taken.count(index)
        return split(x, spans), stages

    def read_out(self, blocks: tuple[list[Tensor], list[Tensor]]) -> Encoded:
        parts, stages = blocks
        named = dict(zip(self.config.modalities, parts, strict=True))
        tokens = {}
        if "tokens" in self.config.head.needs:
            tokens = {m: self._final(part)[:, :, self.prefix :] for m, part in named.items()}
        if stages:
            stages = [*stages[:-1], self._map(self._final(named["video"]))]
        return Encoded(pooled={m: self._pool(x) for m, x in named.items()}, tokens=tokens, stages=stages)

    def named_blocks(self, blocks: tuple[list[Tensor], list[Tensor]]) -> dict[str, Tensor]:
        parts, stages = blocks
        B, T = parts[0].shape[:2]
        named = {f"{m}.last": part for m, part in zip(self.config.modalities, parts, strict=True)}
        return named | {f"stage{i}": x.view(B, T, *x.shape[1:]) for i, x in enumerate(stages[:-1])}

    def blocks_from(self, named: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        parts = [named[f"{m}.last"] for m in self.config.modalities]
        stages = [named[f"stage{i}"].flatten(0, 1) for i in range(MAPS - 1) if f"stage{i}" in named]
        return parts, [*stages, *stages[-1:]]  # `read_out` makes the last one of the parts

    @property
    def stored_video(self) -> str:
        return "video.last"

    @torch.no_grad()
    def stored_tokens(self, blocks: Tensor) -> Tensor:
        """Last outputs `[B, T, prefix + N, D]` → patches `[B, T, N, D]` after the final norm."""
        return self._final(blocks.float())[:, :, self.prefix :]

    def _map(self, frames: Tensor) -> Tensor:
        """Return the patches of frames `[B, T, N, D]` as a map `[B·T, H, W, D]`."""
        side = self.config.backbone.image_size // self.config.backbone.patch
        return frames[:, :, self.prefix :].reshape(-1, side, side, frames.shape[-1])

    def _block_rotary(self, modality: str, index: int) -> Tensor | None:
        table: Tensor | None = getattr(self, f"rotary_{modality}", None)
        # Learned rotary positions differ by block and head.
        return table if table is None or table.ndim == 2 else table[index]

    def _pool(self, x: Tensor) -> Tensor:
        """`[B, T, N, D]` → `[B, T, D]`, as timm pools."""
        B, T = x.shape[:2]
        if self.backbone.global_pool == "token":
            return self._final(x[:, :, 0])
        x = x.flatten(0, 1)
        if self._norm_name == "norm":
            x = self._final(x)
        x = x[:, self.prefix :].mean(1)
        x = self._final(x) if self._norm_name == "fc_norm" else x
        return x.view(B, T, -1)

    @torch.no_grad()
    def encode_frozen(self, video: Tensor) -> Tensor:
        """Frames `[B, T, 3, H, W]` through the backbone alone → patches `[B, T, N, D]` after the final norm.

        Nothing learns from this pass. While training, DropPath acts on both residuals of every block.
        """
        tokens: Tensor = self.backbone.forward_features(video.flatten(0, 1))[:, self.prefix :]
        tokens = self._final(tokens) if self._norm_name == "fc_norm" else tokens
        return tokens.view(*video.shape[:2], *tokens.shape[1:])

    def _stem(self, modality: str, pixels: Tensor) -> Tensor:
        """Pixels `[B, T, 3, H, W]` or segments `[B, T, F, M]` → tokens `[B, T, N, D]`, the prefix first."""
        B, T = pixels.shape[:2]
        backbone = self.backbone
        if modality == "video":
            x = backbone.patch_embed(pixels.flatten(0, 1))
            x = x.flatten(1, 2) if x.ndim == 4 else x
            positions = backbone.pos_embed
        else:
            x = self.audio_stem(pixels.flatten(0, 1)[:, None]).flatten(2).transpose(1, 2)
            positions = getattr(self, "audio_positions", None)
        if positions is not None and backbone.no_embed_class:
            x = x + positions
        prefix = [t for t in (backbone.cls_token, backbone.reg_token) if t is not None]
        x = torch.cat([*(token.expand(B * T, -1, -1) for token in prefix), x], dim=1)
        if positions is not None and not backbone.no_embed_class:
            x = x + positions
        tokens: Tensor = x.view(B, T, *x.shape[1:])
        if modality in self.temporal_embedding:
            tokens = tokens + self.temporal_embedding[modality][:, :T, None]
        return tokens


def taken_layers(depth: int) -> list[int]:
    """Return the blocks whose outputs become maps: evenly spaced, the last one among them."""
    return [-(-depth * (k + 1) // MAPS) - 1 for k in range(MAPS)]


def audio_positions(
    image: Tensor, side: tuple[int, int], grid: tuple[int, int], *, prefix: int = 1
) -> Tensor:
    """Return the audio position table `[1, prefix + n·m, D]` for the image's `[1, prefix + g·g, D]`.

    Along an axis where the audio grid is smaller, the middle of the image grid is taken; where it is
    larger, the image grid is resized bilinearly. The rows of prefix tokens are copied.
    """
    table = image[:, prefix:].reshape(1, *side, -1).permute(0, 3, 1, 2)
    for axis, (g, n) in enumerate(zip(side, grid, strict=True), start=2):
        if n < g:
            table = table.narrow(axis, g // 2 - n // 2, n)
    if tuple(table.shape[2:]) != grid:
        table = functional.interpolate(table, size=grid, mode="bilinear", align_corners=False)
    return torch.cat([image[:, :prefix], table.flatten(2).transpose(1, 2)], dim=1)
