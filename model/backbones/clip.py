"""The CLIP family: timm's ViT, frozen, with adapted blocks for frames and spectrograms.

The tokens of both modalities lie one after the other in one flat `[rows, D]` tensor, the frames' first, so
that every frozen layer that works token by token runs once for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from ..adapters.exchange import BlockAdapters, StepAdapters
from ..config import ModelConfig
from ..noise import replace_drop_paths
from .encoder import Encoded, Encoder


class Span(NamedTuple):
    """One modality's part of the flat tokens: `B·T·N` rows."""

    clips: int
    steps: int
    tokens: int

    @property
    def rows(self) -> int:
        return self.clips * self.steps * self.tokens


def clip_backbone(config: ModelConfig, *, device: str) -> Any:
    """OpenAI's CLIP image tower as timm has it, without the projection, on `device`."""
    backbone = VisionTransformer(
        img_size=config.image_size,
        patch_size=config.patch,
        embed_dim=config.width,
        depth=config.depths[0],
        num_heads=config.heads[0],
        num_classes=0,
        pre_norm=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
        act_layer="quick_gelu",
        drop_path_rate=config.drop_path,
        weight_init="skip",
        device=device,
    )
    # timm's default hangs on a global switch and on the environment; this one is ours.
    for block in backbone.blocks:
        block.attn.fused_attn = True
    replace_drop_paths(backbone)
    return backbone


class ClipEncoder(Encoder):
    """Frozen ViT with a trained temporal embedding, trained adapters and a trained final norm."""

    def __init__(self, config: ModelConfig, *, device: str) -> None:
        super().__init__()
        self.config = config
        self.backbone = clip_backbone(config, device=device)
        if "audio" in config.modalities:
            patch = config.patch
            rows = 1 + config.audio_grid[0] * config.audio_grid[1]
            self.audio_stem = nn.Conv2d(1, config.width, patch, stride=patch, bias=False, device=device)
            self.audio_positions = nn.Parameter(torch.empty(1, rows, config.width, device=device))
        # Like every trained part these follow the default device; only the frozen parts may start on meta.
        shape = (1, config.frames, config.width)
        modalities = config.modalities if config.temporal else ()
        self.temporal_embedding = nn.ParameterDict({m: torch.zeros(shape) for m in modalities})
        self.adapters = nn.ModuleList(
            BlockAdapters(config, width=config.width, ratio=config.adapter_ratio[0])
            for _ in range(config.depths[0])
        )

    def trained_modules(self) -> dict[str, nn.Module]:
        return {
            "temporal_embedding": self.temporal_embedding,
            "adapters": self.adapters,
            "backbone.norm": self.backbone.norm,
        }

    @torch.no_grad()
    def derive_audio(self) -> None:
        """Fills the audio stem and the audio positions from the image ones."""
        if "audio" in self.config.modalities:
            self.audio_stem.weight.copy_(self.backbone.patch_embed.proj.weight.sum(1, keepdim=True))
            self.audio_positions.copy_(
                audio_positions(
                    self.backbone.pos_embed, self.backbone.patch_embed.grid_size, self.config.audio_grid
                )
            )

    def forward(self, inputs: Mapping[str, Tensor]) -> Encoded:
        stems = {m: self._stem(m, inputs[m]) for m in self.config.modalities}
        spans = [Span(*x.shape[:3]) for x in stems.values()]
        x = torch.cat([x.flatten(0, 2) for x in stems.values()])
        x = self.backbone.norm_pre(x)
        for block, adapters in zip(self.backbone.blocks, self.adapters, strict=True):
            x = self.run_block(adapted_block, x, block, adapters, spans)
        pooled = {
            m: self.backbone.norm(tokens[:, :, 0])
            for m, tokens in zip(self.config.modalities, split(x, spans), strict=True)
        }
        return Encoded(pooled=pooled, tokens={}, stages=[])

    def _stem(self, modality: str, pixels: Tensor) -> Tensor:
        """Pixels `[B, T, 3, H, W]` or segments `[B, T, F, M]` → tokens `[B, T, N, D]`, class token first."""
        B, T = pixels.shape[:2]
        if modality == "video":
            x = self.backbone.patch_embed(pixels.flatten(0, 1))
            positions = self.backbone.pos_embed
        else:
            x = self.audio_stem(pixels.flatten(0, 1)[:, None]).flatten(2).transpose(1, 2)
            positions = self.audio_positions
        x = torch.cat([self.backbone.cls_token.expand(B * T, -1, -1), x], dim=1) + positions
        tokens: Tensor = x.view(B, T, *x.shape[1:])
        if self.config.temporal:
            tokens = tokens + self.temporal_embedding[modality][:, :, None]
        return tokens


def audio_positions(image: Tensor, side: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """The audio position table `[1, 1 + n·m, D]` from the image's `[1, 1 + g·g, D]`.

    Along an axis where the audio grid is smaller, the middle of the image grid is taken; where it is
    larger, the image grid is resized bilinearly. The class row is copied.
    """
    table = image[:, 1:].reshape(1, *side, -1).permute(0, 3, 1, 2)
    for axis, (g, n) in enumerate(zip(side, grid, strict=True), start=2):
        if n < g:
            table = table.narrow(axis, g // 2 - n // 2, n)
    if tuple(table.shape[2:]) != grid:
        table = functional.interpolate(table, size=grid, mode="bilinear", align_corners=False)
    return torch.cat([image[:, :1], table.flatten(2).transpose(1, 2)], dim=1)


def split(x: Tensor, spans: list[Span]) -> list[Tensor]:
    """Flat `[rows, D]` → one view `[B, T, N, D]` per modality."""
    parts = torch.split(x, [span.rows for span in spans])
    return [part.view(*span, x.shape[-1]) for part, span in zip(parts, spans, strict=True)]


def adapted_block(x: Tensor, block: Any, adapters: BlockAdapters, spans: list[Span]) -> Tensor:
    """Time, space and modality in one frozen block: flat tokens `[rows, D]` → the same."""
    if adapters.temporal is not None:
        x = x + temporal_residual(block.norm1(x), block, adapters.temporal, spans)
    attended = spatial_attention(block.norm1(x), block.attn, spans)
    x = x + block.attn.proj(torch.cat([part.flatten(0, 1) for part in attended]))
    if adapters.spatial is not None:
        hidden = adapters.exchange(adapters.spatial.down(attended, through=block.attn.proj))
        x = x + torch.cat([part.flatten(0, 1) for part in adapters.spatial.up(hidden)])
    if adapters.global_ is None:
        x = x + block.mlp(block.norm2(x))
    else:
        rows = [span.rows for span in spans]
        z, hidden = adapters.global_.down_from(block.mlp, block.norm2(x), rows)
        hidden = [u.view(*part.shape[:2], -1) for u, part in zip(hidden, attended, strict=True)]
        hidden = adapters.exchange(hidden)
        x = x + z + torch.cat([part.flatten(0, 1) for part in adapters.global_.up(hidden)])
    return x


def temporal_residual(n: Tensor, block: Any, step: StepAdapters, spans: list[Span]) -> Tensor:
    """Attention over the time steps at every token position, adapted; flat `[rows, D]` → the same.

    Both modalities have the same number of steps, so the frozen attention runs once for all positions.
    """
    columns = [part.transpose(1, 2).flatten(0, 1) for part in split(n, spans)]
    attended = block.attn(torch.cat(columns)).split([len(column) for column in columns])
    residuals = []
    for span, residual in zip(spans, step(attended), strict=True):
        B, T, N = span
        residual = block.drop_path1(residual)  # drops rows: one clip, one token position
        residuals.append(residual.view(B, N, T, -1).transpose(1, 2).flatten(0, 2))
    return torch.cat(residuals)


def spatial_attention(n: Tensor, attn: Any, spans: list[Span]) -> list[Tensor]:
    """The frozen attention within each frame and each segment, before its projection.

    Flat `[rows, D]` → `[B·T, N, D]` per modality.
    """
    attended = []
    for part in split(attn.qkv(n), spans):
        B, T, N, _ = part.shape
        q, k, v = part.view(B * T, N, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        out = functional.scaled_dot_product_attention(q, k, v)
        attended.append(out.transpose(1, 2).flatten(2))
    return attended
