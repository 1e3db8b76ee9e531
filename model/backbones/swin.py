"""The Swin family: timm's Swin, frozen, with adapted blocks for frames and spectrograms (arXiv 2103.14030).

A spectrogram makes a token grid of the same shape as a frame, so both modalities lie in one
`[M·B·T, H, W, D]` tensor (M modalities, the frames first), and every frozen layer runs once for both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn
from torch.nn import functional

from ...errors import InputError
from ..adapters.base import Attended, FrozenBlock, SidePass, slice_budget
from ..checks import check_integer
from ..config import ModelConfig
from ..noise import drop_mask, replace_drop_paths
from ..records import FRAME_MASK, BackboneConfig, Family
from ..undrawn import undrawn
from .encoder import Encoded, Encoder, audio_kernel, make_adapters
from .swin_names import rename

_MOST_WINDOW = 32
_SLICES = 4  # of `run` at a time in `update`: 7 % faster on a CPU, and no more than a block's activations


@dataclass(frozen=True, kw_only=True)
class SwinConfig(BackboneConfig):
    """A Swin: four stages. `window` is the side of its attention window, in tokens."""

    family = "swin"
    stages = 4
    provides = frozenset({"pooled", "tokens", "stages"})
    hierarchical = True
    relative_time = True
    parallel_unimodal = True

    audio_shape: tuple[int, int] = (224, 224)
    audio_stem: str = "mean"
    window: int = 7

    @property
    def timm_sizes(self) -> dict[str, Any]:
        """The sizes as options of timm's classes."""
        return {
            "img_size": self.image_size,
            "patch_size": self.patch,
            "embed_dim": self.width,
            "depths": self.depths,
            "num_heads": self.heads,
            "window_size": self.window,
        }

    def _check_sizes(self) -> None:
        check_integer("window", self.window, most=_MOST_WINDOW)
        super()._check_sizes()
        if self.audio_shape != (self.image_size, self.image_size):
            raise InputError(
                f"audio_shape: {self.audio_shape!r}, expected {(self.image_size, self.image_size)}: "
                "Swin's windows cover audio and frames alike"
            )
        side = self.image_size // self.patch
        for stage in range(self.stages):
            if (side > self.window and side % self.window) or (stage < 3 and side % 2):
                raise InputError(
                    f"image_size: {self.image_size}, expected a grid that halves three times and that "
                    f"windows of {self.window} tile; stage {stage + 1} has {side}×{side} tokens"
                )
            side //= 2


def swin_backbone(record: Any, *, device: str) -> Any:
    """Build Swin as timm has it, without the classifier, on `device`."""
    with undrawn(device):
        backbone = SwinTransformer(
            **record.timm_sizes,
            num_classes=0,
            norm_layer=partial(nn.LayerNorm, eps=1e-5),
            drop_path_rate=record.drop_path,
            weight_init="skip",
            device=device,
        )
    # timm counts Swin's fused attention as experimental, behind a global switch; set here, it needs none.
    for stage in backbone.layers:
        for block in stage.blocks:
            block.attn.fused_attn = True
    replace_drop_paths(backbone)
    return backbone


class SwinEncoder(Encoder):
    """Frozen Swin with trained adapters.

    `backbone` is timm's model of four stages without a classifier; `frozen` shows its blocks to adapters.
    """

    def __init__(self, config: ModelConfig, backbone: Any, frozen: type[SwinBlock], *, device: str) -> None:
        super().__init__(config)
        record: Any = config.backbone
        self.backbone, self.frozen = backbone, frozen
        if "audio" in config.modalities:
            self.audio_stem = nn.Conv2d(1, record.width, record.patch, stride=record.patch, device=device)
            self.audio_norm = nn.LayerNorm(record.width, eps=1e-5, device=device)
        self.adapters = nn.ModuleList(
            make_adapters(config, i, stage.blocks, frozen) for i, stage in enumerate(self.backbone.layers)
        )
        self.parallel = record.parallel_unimodal and len(config.modalities) == 1

    def trained_modules(self) -> dict[str, nn.Module]:
        return {"adapters": self.adapters}

    @torch.no_grad()
    def derive_audio(self) -> None:
        """Fill the audio stem from the image's, with the same bias and norm."""
        if "audio" in self.config.modalities:
            image = self.backbone.patch_embed
            self.audio_stem.weight.copy_(audio_kernel(image.proj.weight, self.config.backbone))
            self.audio_stem.bias.copy_(image.proj.bias)  # type: ignore[union-attr]  # built with a bias
            self.audio_norm.load_state_dict(image.norm.state_dict())

    def run_blocks(
        self, inputs: Mapping[str, Tensor], side_pass: SidePass | None = None
    ) -> tuple[list[Tensor], int]:
        modalities = self.config.modalities
        T = inputs[modalities[0]].shape[1]
        x = torch.cat([self._stem(m, inputs[m]) for m in modalities])
        stages = []
        for number, (stage, adapters) in enumerate(zip(self.backbone.layers, self.adapters, strict=True)):
            x = stage.downsample(x)
            for block, adapter in zip(stage.blocks, adapters, strict=True):  # type: ignore[call-overload]
                frozen = self.frozen(
                    block,
                    x.shape,
                    steps=T,
                    modalities=len(modalities),
                    parallel=self.parallel,
                    frame_mask=inputs.get(FRAME_MASK),
                )
                # A quarter of all activations, and a twelfth of the arithmetic.
                x = self.run_block(adapter, x, frozen, side_pass, is_wide=number == 0)
            stages.append(x)
        return stages, T

    def read_out(self, blocks: tuple[list[Tensor], int]) -> Encoded:
        modalities, (stages, T) = self.config.modalities, blocks
        x = self.backbone.norm(stages[-1])
        maps = x.view(len(modalities), -1, T, x.shape[1] * x.shape[2], x.shape[-1]).unbind(0)
        frames = x.shape[0] // len(modalities)
        return Encoded(
            pooled={m: tokens.mean(2) for m, tokens in zip(modalities, maps, strict=True)},
            tokens=dict(zip(modalities, maps, strict=True)),
            stages=[stage[:frames] for stage in (*stages[:-1], x)],
        )

    def named_blocks(self, blocks: tuple[list[Tensor], int]) -> dict[str, Tensor]:
        modalities, (stages, T) = self.config.modalities, blocks
        wanted = stages if "stages" in self.config.head.needs else stages[-1:]
        named: dict[str, Tensor] = {}
        for number, stage in enumerate(wanted, start=len(stages) - len(wanted)):
            parts = stage.view(len(modalities), -1, T, *stage.shape[1:]).unbind(0)
            read = modalities if number == len(stages) - 1 else ("video",)
            named |= {f"{m}.stage{number}": x for m, x in zip(modalities, parts, strict=True) if m in read}
        return named

    def blocks_from(self, named: Mapping[str, Tensor]) -> tuple[list[Tensor], int]:
        last = len(self.backbone.layers) - 1
        maps = [named[f"video.stage{n}"].flatten(0, 1) for n in range(last) if f"video.stage{n}" in named]
        parts = [named[f"{m}.stage{last}"] for m in self.config.modalities]
        return [*maps, torch.cat([part.flatten(0, 1) for part in parts])], parts[0].shape[1]

    @property
    def stored_video(self) -> str:
        return f"video.stage{len(self.backbone.layers) - 1}"

    @torch.no_grad()
    def stored_tokens(self, blocks: Tensor) -> Tensor:
        """Maps of the last stage `[B, T, H, W, D]` → `[B, T, N, D]` after the final norm."""
        normed: Tensor = self.backbone.norm(blocks.float())
        return normed.flatten(2, 3)

    @torch.no_grad()
    def encode_frozen(self, video: Tensor) -> Tensor:
        """Frames `[B, T, 3, H, W]` through the backbone alone → `[B, T, N, D]` after the final norm.

        Nothing learns from this pass. While training, DropPath acts on both residuals of every block.
        """
        x = self._stem("video", video)
        for stage in self.backbone.layers:
            x = stage.downsample(x)
            for block in stage.blocks:
                x = self.frozen(block, x.shape, steps=video.shape[1], modalities=1, parallel=False).update(x)
        tokens: Tensor = self.backbone.norm(x)
        return tokens.view(*video.shape[:2], -1, tokens.shape[-1])

    def _stem(self, modality: str, pixels: Tensor) -> Tensor:
        """Pixels `[B, T, 3, H, W]` or segments `[B, T, F, M]` → a token grid `[B·T, H, W, D]`."""
        if modality == "video":
            tokens: Tensor = self.backbone.patch_embed(pixels.flatten(0, 1))
            return tokens
        x: Tensor = self.audio_stem(pixels.flatten(0, 1)[:, None])
        normed: Tensor = self.audio_norm(x.permute(0, 2, 3, 1))
        return normed


class SwinBlock(FrozenBlock):
    """A Swin block over token grids `[M·B·T, H, W, D]`; its groups are (shifted) windows.

    The attention layout is `[M·B·T, window area, windows, D]`.
    """

    def __init__(
        self,
        block: Any,
        shape: torch.Size,
        *,
        steps: int,
        modalities: int,
        parallel: bool,
        frame_mask: Tensor | None = None,
    ) -> None:
        frames, H, W, _ = shape
        super().__init__(
            block,
            steps=steps,
            rows=[frames * H * W // modalities] * modalities,
            tokens=[H * W] * modalities,
            parallel=parallel,
            frame_mask=frame_mask,
        )
        self.shape, self.modalities = shape, modalities

    def copied(self) -> SwinBlock:
        return type(self)(
            self.block,
            self.shape,
            steps=self.steps,
            modalities=self.modalities,
            parallel=self.parallel,
            frame_mask=self.frame_mask,
        )

    def slices(self, budget: int) -> Iterator[tuple[slice, SwinBlock]]:
        frames, *grid = self.shape
        most = max(1, budget // math.prod(grid))
        for start in range(0, frames, most):
            count = min(most, frames - start)
            shape = torch.Size([count, *grid])
            block = type(self)(self.block, shape, steps=count, modalities=1, parallel=self.parallel)
            yield slice(start, start + count), block

    def update(self, x: Tensor) -> Tensor:
        """Apply the frozen block with its DropPath to `x`, in its memory, and return it; without a gradient.

        As `run`, a few frames at a time; DropPath draws for all frames, in timm's order.
        """
        kept = [drop_mask(self.block.drop_path1, x), drop_mask(self.block.drop_path2, x)]
        # A traced program is for any number of clips, and all at once.
        parts: Any = ((slice(None), self),)
        for rows, block in parts if torch.compiler.is_compiling() else self.slices(_SLICES * slice_budget(x)):
            part = x[rows]
            update = block.proj(block.attend(block.norm1(part)).whole)
            part = block.add(part, update if kept[0] is None else update * kept[0][rows])
            update = block.mlp(block.norm2(part))
            x[rows] = block.add_tokens(part, update if kept[1] is None else update * kept[1][rows])
        return x

    def group(self, n: Tensor) -> Tensor:
        _, H, W, D = n.shape
        (h, w), shift = self.block.window_size, self.block.shift_size
        if any(shift):
            n = torch.roll(n, shifts=(-shift[0], -shift[1]), dims=(1, 2))
        return n.view(-1, H // h, h, W // w, w, D).permute(0, 2, 4, 1, 3, 5).reshape(n.shape[0], h * w, -1, D)

    def core(self, qkv: Tensor) -> Attended:
        """`[M·B·T, window area, windows, 3·D]` → the same with D.

        timm's own forward adds the shift mask to the position bias once per frame, which takes as much memory
        as the attention matrices; here the windows of a frame count as heads, so that one mask serves all
        frames.
        """
        _, area, windows, _ = qkv.shape
        bias = self.block.attn._get_rel_pos_bias().expand(windows, -1, -1, -1)
        if self.block.attn_mask is not None:
            bias = bias + self.block.attn_mask[:, None]
        q, k, v = self._window_heads(qkv)
        bias = bias.reshape(1, q.shape[1], area, area)
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self._joined_heads(y, windows)

    def _window_heads(self, qkv: Tensor) -> tuple[Tensor, ...]:
        """`[M·B·T, area, windows, 3·D]` → queries, keys, values `[M·B·T, windows·heads, area, D/heads]`."""
        rows, area, windows, _ = qkv.shape
        parts = qkv.view(rows, area, windows, 3, self.block.attn.num_heads, -1).unbind(3)
        return tuple(part.flatten(2, 3).transpose(1, 2) for part in parts)

    def _joined_heads(self, y: Tensor, windows: int) -> Attended:
        """`[M·B·T, windows·heads, area, D/heads]` → the attention layout."""
        y = y.transpose(1, 2).reshape(y.shape[0], y.shape[2], windows, -1)
        return Attended(y, self.parts(y))

    def parts(self, grouped: Tensor) -> list[Tensor]:
        # `chunk` would have to prove the number of parts of a symbolic number of clips.
        return list(torch.split(grouped, [grouped.shape[0] // self.modalities] * self.modalities))

    def grouped(self, u: Tensor) -> Tensor:
        return u.transpose(1, 2)

    def join_attended(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(parts))

    def add(self, x: Tensor, *updates: Tensor) -> Tensor:
        y = updates[0]
        for update in updates[1:]:
            y = y + update
        _, H, W, D = self.shape
        (h, w), shift = self.block.window_size, self.block.shift_size
        y = y.view(-1, h, w, H // h, W // w, D).permute(0, 3, 1, 4, 2, 5).reshape(self.shape)
        return x + (torch.roll(y, shifts=shift, dims=(1, 2)) if any(shift) else y)

    def split(self, x: Tensor) -> list[Tensor]:
        tokens = x.view(self.modalities, -1, self.steps, self.tokens[0], x.shape[-1])
        return list(tokens.unbind(0))

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(parts)).reshape(*self.shape[:3], -1)

    def add_tokens(self, x: Tensor, *updates: Tensor) -> Tensor:
        total = updates[0]
        for update in updates[1:]:
            total = total + update.view(total.shape)
        return x + total.view(x.shape)

    def to_time(self, n: Tensor) -> tuple[Tensor, list[int]]:
        clips = n.shape[0] // self.steps
        columns = n.view(clips, self.steps, self.tokens[0], -1).transpose(1, 2).flatten(0, 1)
        return columns, [columns.shape[0] // self.modalities] * self.modalities

    def from_time(self, columns: Sequence[Tensor]) -> Tensor:
        residual = torch.cat(list(columns)).view(-1, self.tokens[0], self.steps, self.shape[-1])
        return residual.transpose(1, 2).reshape(self.shape)


def encoder(config: ModelConfig, *, device: str) -> SwinEncoder:
    """Build the adapted encoder; the frozen weights lie on `device`."""
    backbone = swin_backbone(config.backbone, device=device)
    return SwinEncoder(config, backbone, SwinBlock, device=device)


FAMILY = Family(
    config=SwinConfig,
    encoder=encoder,
    rename=rename,
    records={
        "swin-b": SwinConfig(
            width=128,
            depths=(2, 2, 18, 2),
            heads=(4, 8, 16, 32),
            patch=4,
            timm_name="swin_base_patch4_window7_224.ms_in22k",
        ),
        "swin-l": SwinConfig(
            width=192,
            depths=(2, 2, 18, 2),
            heads=(6, 12, 24, 48),
            patch=4,
            timm_name="swin_large_patch4_window7_224.ms_in22k",
        ),
        "swin-demo": SwinConfig(
            width=32, depths=(1, 1, 2, 1), heads=(1, 2, 4, 8), patch=7, window=4, drop_path=0.0
        ),
        "swin-demo-coarse": SwinConfig(
            width=32, depths=(1, 1, 2, 1), heads=(1, 2, 4, 8), patch=28, window=2, drop_path=0.0
        ),
    },
)
