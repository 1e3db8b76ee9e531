"""The CLIP family: timm's ViT, frozen, with adapted blocks for frames and spectrograms (arXiv 2103.00020).

The tokens of both modalities lie one after the other in one flat `[rows, D]` tensor, the frames' first, so
that every frozen layer that works token by token runs once for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from ..adapters.base import Attended, FrozenBlock, Taps
from ..checks import check_choice
from ..config import ModelConfig
from ..noise import replace_drop_paths
from ..records import FRAME_MASK, BackboneConfig, Family
from .encoder import Encoded, Encoder, audio_kernel, make_adapters

_BLOCK_NAMES = {
    "attn.in_proj_weight": "attn.qkv.weight",
    "attn.in_proj_bias": "attn.qkv.bias",
    "attn.out_proj.weight": "attn.proj.weight",
    "attn.out_proj.bias": "attn.proj.bias",
    "ln_1.weight": "norm1.weight",
    "ln_1.bias": "norm1.bias",
    "ln_2.weight": "norm2.weight",
    "ln_2.bias": "norm2.bias",
    "mlp.c_fc.weight": "mlp.fc1.weight",
    "mlp.c_fc.bias": "mlp.fc1.bias",
    "mlp.c_proj.weight": "mlp.fc2.weight",
    "mlp.c_proj.bias": "mlp.fc2.bias",
}
_TRUNK_NAMES = {
    "class_embedding": "cls_token",
    "conv1.weight": "patch_embed.proj.weight",
    "positional_embedding": "pos_embed",
    "ln_pre.weight": "norm_pre.weight",
    "ln_pre.bias": "norm_pre.bias",
    "ln_post.weight": "norm.weight",
    "ln_post.bias": "norm.bias",
}


@dataclass(frozen=True, kw_only=True)
class ClipConfig(BackboneConfig):
    """A CLIP image tower: one stage.

    `activation` is that of the MLPs: `quick_gelu` of OpenAI's weights, or `gelu`, as most of timm's others.
    """

    family = "clip"
    stages = 1
    provides = frozenset({"pooled"})

    audio_shape: tuple[int, int] = (102, 128)
    audio_stem: str = "sum"
    activation: str = "quick_gelu"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("activation", self.activation, ("quick_gelu", "gelu"))


def clip_backbone(record: Any, *, device: str) -> Any:
    """Build timm's CLIP image tower of a record, without the projection, on `device`."""
    backbone = VisionTransformer(
        img_size=record.image_size,
        patch_size=record.patch,
        embed_dim=record.width,
        depth=record.depths[0],
        num_heads=record.heads[0],
        num_classes=0,
        pre_norm=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
        act_layer=record.activation,
        drop_path_rate=record.drop_path,
        weight_init="skip",
        device=device,
    )
    # timm's default depends on a global switch and on the environment; set here, it depends on neither.
    for block in backbone.blocks:
        block.attn.fused_attn = True
    replace_drop_paths(backbone)
    return backbone


class ClipEncoder(Encoder):
    """Frozen ViT with trained adapters, a trained final norm and, with attention over time, an embedding."""

    def __init__(self, config: ModelConfig, *, device: str) -> None:
        super().__init__(config)
        record = config.backbone
        self.backbone = clip_backbone(record, device=device)
        if "audio" in config.modalities:
            patch = record.patch
            rows = 1 + record.audio_grid[0] * record.audio_grid[1]
            self.audio_stem = nn.Conv2d(1, record.width, patch, stride=patch, bias=False, device=device)
            self.audio_positions = nn.Parameter(torch.empty(1, rows, record.width, device=device))
        # Like every trained part these follow the default device; only the frozen parts may start on meta.
        shape = (1, config.frames, record.width)
        modalities = config.modalities if config.adapter.temporal_embedding else ()
        self.temporal_embedding = nn.ParameterDict({m: torch.zeros(shape) for m in modalities})
        self.adapters = make_adapters(config, 0, self.backbone.blocks, ClipBlock)

    def trained_modules(self) -> dict[str, nn.Module]:
        return {
            "temporal_embedding": self.temporal_embedding,
            "adapters": self.adapters,
            "backbone.norm": self.backbone.norm,
        }

    @torch.no_grad()
    def derive_audio(self) -> None:
        """Fill the audio stem and the audio positions from the image's."""
        if "audio" in self.config.modalities:
            self.audio_stem.weight.copy_(
                audio_kernel(self.backbone.patch_embed.proj.weight, self.config.backbone)
            )
            self.audio_positions.copy_(
                audio_positions(
                    self.backbone.pos_embed,
                    self.backbone.patch_embed.grid_size,
                    self.config.backbone.audio_grid,
                )
            )

    def run_blocks(self, inputs: Mapping[str, Tensor], taps: Taps | None = None) -> list[Tensor]:
        stems = {m: self._stem(m, inputs[m]) for m in self.config.modalities}
        spans = [Span(*x.shape[:3]) for x in stems.values()]
        x = torch.cat([x.flatten(0, 2) for x in stems.values()])
        x = self.backbone.norm_pre(x)
        for block, adapter in zip(self.backbone.blocks, self.adapters, strict=True):
            x = self.run_block(adapter, x, ClipBlock(block, spans, inputs.get(FRAME_MASK)), taps)
        return split(x, spans)

    def read_out(self, blocks: list[Tensor]) -> Encoded:
        pooled = {
            m: self.backbone.norm(tokens[:, :, 0])
            for m, tokens in zip(self.config.modalities, blocks, strict=True)
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
        if modality in self.temporal_embedding:
            tokens = tokens + self.temporal_embedding[modality][:, :T, None]
        return tokens


def audio_positions(image: Tensor, side: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Return the audio position table `[1, 1 + n·m, D]` for the image's `[1, 1 + g·g, D]`.

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


class ClipBlock(FrozenBlock):
    """A ViT block over flat tokens `[rows, D]`; a frame or a segment with its class token is one group."""

    def __init__(self, block: Any, spans: Sequence[Span], frame_mask: Tensor | None = None) -> None:
        super().__init__(
            block,
            steps=spans[0].steps,
            rows=[span.rows for span in spans],
            tokens=[span.tokens for span in spans],
            parallel=False,
            frame_mask=frame_mask,
        )
        self.spans = spans

    def group(self, n: Tensor) -> Tensor:
        return n

    def core(self, qkv: Tensor) -> Attended:
        """Flat `[rows, 3·D]` → flat `[rows, D]`, and `[B·T, N, D]` per modality."""
        attended = []
        for part in split(qkv, self.spans):
            B, T, N, _ = part.shape
            q, k, v = part.view(B * T, N, 3, self.block.attn.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
            out = functional.scaled_dot_product_attention(q, k, v)
            attended.append(out.transpose(1, 2).flatten(2))
        return Attended(self.join_attended(attended), attended)

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
        """Return the class token of each frame or segment: `[F, N, D]` → `[F, D]`."""
        return tokens[:, 0]

    def split(self, x: Tensor) -> list[Tensor]:
        return split(x, self.spans)

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        return self.join_attended(parts)

    def add_tokens(self, x: Tensor, *updates: Tensor) -> Tensor:
        return self.add(x, *updates)

    def to_time(self, n: Tensor) -> tuple[Tensor, list[int]]:
        columns = [part.transpose(1, 2).flatten(0, 1) for part in self.split(n)]
        return torch.cat(columns), [len(column) for column in columns]

    def from_time(self, columns: Sequence[Tensor]) -> Tensor:
        parts = []
        for (B, T, N), column in zip(self.spans, columns, strict=True):
            parts.append(column.view(B, N, T, -1).transpose(1, 2).flatten(0, 2))
        return torch.cat(parts)


def trunk_names(record: BackboneConfig) -> dict[str, str]:
    """Return OpenAI's names of CLIP's image tower → timm's."""
    names = dict(_TRUNK_NAMES)
    for i in range(record.depths[0]):
        for theirs, ours in _BLOCK_NAMES.items():
            names[f"transformer.resblocks.{i}.{theirs}"] = f"blocks.{i}.{ours}"
    return names


def rename(tensors: dict[str, Tensor], record: BackboneConfig) -> dict[str, Tensor]:
    """Give OpenAI's tensors timm's names and shapes; other names are left as they are."""
    if "visual.class_embedding" in tensors:  # the whole CLIP, of which only the image tower is used
        tensors = {n[len("visual.") :]: t for n, t in tensors.items() if n.startswith("visual.")}
    if "class_embedding" not in tensors:
        return tensors
    names = trunk_names(record)
    renamed = {names.get(name, name): tensor for name, tensor in tensors.items() if name != "proj"}
    for name, leading in (("cls_token", 2), ("pos_embed", 1)):
        if name in renamed:
            renamed[name] = renamed[name].reshape((1,) * leading + tuple(renamed[name].shape))
    return renamed


FAMILY = Family(
    config=ClipConfig,
    encoder=ClipEncoder,
    rename=rename,
    torchscript=True,
    records={
        "clip-b16": ClipConfig(
            width=768,
            depths=(12,),
            heads=(12,),
            patch=16,
            timm_name="vit_base_patch16_clip_quickgelu_224.openai",
        ),
        "clip-l14": ClipConfig(
            width=1024,
            depths=(24,),
            heads=(16,),
            patch=14,
            timm_name="vit_large_patch14_clip_quickgelu_224.openai",
        ),
        "clip-demo": ClipConfig(width=128, depths=(4,), heads=(4,), patch=32),
    },
)
