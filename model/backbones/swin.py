"""The Swin family: timm's Swin transformer, frozen, with adapted blocks for frames and spectrograms.

A spectrogram makes a token grid of the same shape as a frame, so both modalities lie in one
`[M·B·T, H, W, D]` tensor (M modalities, the frames first), and every frozen layer runs once for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn
from torch.nn import functional

from ..adapters.exchange import BlockAdapters, StepAdapters
from ..config import ModelConfig
from ..noise import replace_drop_paths
from .encoder import Encoded, Encoder


def swin_backbone(config: ModelConfig, *, device: str) -> Any:
    """Swin as timm has it, without the classifier, on `device`."""
    backbone = SwinTransformer(
        img_size=config.image_size,
        patch_size=config.patch,
        embed_dim=config.width,
        depths=config.depths,
        num_heads=config.heads,
        window_size=config.window,
        num_classes=0,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
        drop_path_rate=config.drop_path,
        weight_init="skip",
        device=device,
    )
    # timm counts Swin's fused attention as experimental; its switch is global, this one is ours.
    for stage in backbone.layers:
        for block in stage.blocks:
            block.attn.fused_attn = True
    replace_drop_paths(backbone)
    return backbone


class SwinBlockAdapters(BlockAdapters):
    """The adapters of one block; temporal ones, with their bias tables, in every other block of a stage."""

    def __init__(self, config: ModelConfig, *, stage: int, index: int) -> None:
        temporal = index % 2 == 0
        width, ratio = config.width << stage, config.adapter_ratio[stage]
        super().__init__(config, width=width, ratio=ratio, temporal=temporal)
        self.modalities = config.modalities if self.temporal is not None else ()
        shape = (2 * config.frames - 1, config.heads[stage])
        self.temporal_bias = nn.ParameterDict({m: torch.zeros(shape) for m in self.modalities})


class SwinEncoder(Encoder):
    """Frozen Swin with trained adapters and temporal bias tables."""

    def __init__(self, config: ModelConfig, *, device: str) -> None:
        super().__init__()
        self.config = config
        self.backbone = swin_backbone(config, device=device)
        if "audio" in config.modalities:
            self.audio_stem = nn.Conv2d(1, config.width, config.patch, stride=config.patch, device=device)
            self.audio_norm = nn.LayerNorm(config.width, eps=1e-5, device=device)
        self.adapters = nn.ModuleList(
            nn.ModuleList(SwinBlockAdapters(config, stage=stage, index=index) for index in range(depth))
            for stage, depth in enumerate(config.depths)
        )
        # The release's unimodal variants put the global adapter beside the MLP instead of after it.
        self.parallel = len(config.modalities) == 1

    def trained_modules(self) -> dict[str, nn.Module]:
        return {"adapters": self.adapters}

    @torch.no_grad()
    def derive_audio(self) -> None:
        """Fills the audio stem from the image's: the mean over the colours, the same bias and norm."""
        if "audio" in self.config.modalities:
            image = self.backbone.patch_embed
            self.audio_stem.weight.copy_(image.proj.weight.mean(1, keepdim=True))
            self.audio_stem.bias.copy_(image.proj.bias)  # type: ignore[union-attr]  # built with a bias
            self.audio_norm.load_state_dict(image.norm.state_dict())

    def forward(self, inputs: Mapping[str, Tensor]) -> Encoded:
        modalities = self.config.modalities
        B, T = inputs[modalities[0]].shape[:2]
        x = torch.cat([self._stem(m, inputs[m]) for m in modalities])
        stages = []
        for stage, adapters in zip(self.backbone.layers, self.adapters, strict=True):
            x = stage.downsample(x)
            for block, trained in zip(stage.blocks, adapters, strict=True):  # type: ignore[call-overload]
                x = self.run_block(adapted_block, x, block, trained, T, self.parallel)
            stages.append(x)
        stages[-1] = x = self.backbone.norm(x)
        maps = x.view(len(modalities), B, T, -1, x.shape[-1]).unbind(0)
        return Encoded(
            pooled={m: tokens.mean(2) for m, tokens in zip(modalities, maps, strict=True)},
            tokens=dict(zip(modalities, maps, strict=True)),
            stages=[stage[: B * T] for stage in stages],
        )

    @torch.no_grad()
    def encode_frozen(self, video: Tensor) -> Tensor:
        """Frames `[B, T, 3, H, W]` through the backbone alone → `[B, T, N, D]` after the final norm.

        Nothing learns from this pass. While training, DropPath acts on both residuals of every block.
        """
        tokens: Tensor = self.backbone.forward_features(video.flatten(0, 1))
        return tokens.view(*video.shape[:2], -1, tokens.shape[-1])

    def _stem(self, modality: str, pixels: Tensor) -> Tensor:
        """Pixels `[B, T, 3, H, W]` or segments `[B, T, F, M]` → a token grid `[B·T, H, W, D]`."""
        if modality == "video":
            tokens: Tensor = self.backbone.patch_embed(pixels.flatten(0, 1))
            return tokens
        x: Tensor = self.audio_stem(pixels.flatten(0, 1)[:, None])
        normed: Tensor = self.audio_norm(x.permute(0, 2, 3, 1))
        return normed


def adapted_block(x: Tensor, block: Any, trained: SwinBlockAdapters, steps: int, parallel: bool) -> Tensor:
    """Time, space and modality in one frozen block: `[M·B·T, H, W, D]` → the same."""
    if trained.temporal is not None:
        x = x + temporal_residual(block.norm1(x), block, trained, trained.temporal, steps)
    x = x + spatial_residual(block.norm1(x), block, trained)
    return x + global_residual(block.norm2(x), block, trained, parallel).view(x.shape)


def global_residual(n: Tensor, block: Any, trained: SwinBlockAdapters, parallel: bool) -> Tensor:
    """The frozen MLP, adapted over all tokens of a time step: `[M·B·T, H, W, D]` → as many rows."""
    n = n.flatten(1, 2)
    if trained.global_ is None:
        frozen: Tensor = block.mlp(n)
        return frozen
    if parallel:
        (beside,) = trained.global_([n])
        return block.mlp(n) + block.drop_path2(0.5 * beside)  # type: ignore[no-any-return]
    frames, N, D = n.shape
    modalities = len(trained.global_)
    rows = [frames * N // modalities] * modalities
    z, hidden = trained.global_.down_from(block.mlp, n.view(-1, D), rows)
    met = trained.exchange([u.view(-1, N, u.shape[-1]) for u in hidden])
    return z + torch.cat(trained.global_.up(met)).view(z.shape)


def temporal_residual(
    n: Tensor, block: Any, trained: SwinBlockAdapters, step: StepAdapters, steps: int
) -> Tensor:
    """Attention over the time steps at every token position, with the trained temporal bias, adapted."""
    rows, H, W, D = n.shape
    clips = rows // steps
    columns = n.view(clips, steps, H * W, D).transpose(1, 2).flatten(0, 1)
    biases = [temporal_bias(trained.temporal_bias[m], steps) for m in trained.modalities]
    parts = zip(*(x.chunk(len(biases)) for x in project_qkv(columns, block.attn)), biases, strict=True)
    attended = [functional.scaled_dot_product_attention(q, k, v, attn_mask=bias) for q, k, v, bias in parts]
    y = block.attn.proj(torch.cat(attended).transpose(1, 2).flatten(2))
    # Drops rows: one clip, one position. Modality by modality, so that a clip's rows lie together.
    residual = torch.cat([block.drop_path1(added) for added in step(y.chunk(len(step)))])
    return residual.view(clips, H * W, steps, D).transpose(1, 2).reshape(n.shape)


def temporal_bias(table: Tensor, steps: int) -> Tensor:
    """Table `[2T−1, heads]` → bias `[1, heads, T, T]`, entry `i − j + T − 1` for query i and key j."""
    step = torch.arange(steps, device=table.device)
    return table[step[:, None] - step[None] + steps - 1].permute(2, 0, 1)[None]


def spatial_residual(n: Tensor, block: Any, trained: SwinBlockAdapters) -> Tensor:
    """Frozen (shifted) window attention, adapted inside the windows: `[M·B·T, H, W, D]` → the same."""
    _, H, W, D = n.shape
    (h, w), shift = block.window_size, block.shift_size
    if any(shift):
        n = torch.roll(n, shifts=(-shift[0], -shift[1]), dims=(1, 2))
    windows = n.view(-1, H // h, h, W // w, w, D).permute(0, 2, 4, 1, 3, 5).reshape(len(n), h * w, -1, D)
    attended = window_attention(windows, block)
    y: Tensor = block.attn.proj(attended)
    if trained.spatial is not None:
        hidden = trained.spatial.down(attended.chunk(len(trained.spatial)), through=block.attn.proj)
        met = trained.exchange([u.transpose(1, 2) for u in hidden])
        y = y + torch.cat(trained.spatial.up([u.transpose(1, 2) for u in met]))
    y = y.view(-1, h, w, H // h, W // w, D).permute(0, 3, 1, 4, 2, 5).reshape(n.shape)
    return torch.roll(y, shifts=shift, dims=(1, 2)) if any(shift) else y


def window_attention(x: Tensor, block: Any) -> Tensor:
    """The frozen attention of every window to itself, before its projection.

    `[M·B·T, window area, windows, D]` → the same. timm's own forward adds the shift mask to the position
    bias once per frame, which takes as much memory as the attention matrices; here the windows of a frame
    count as heads, so that one mask serves all frames.
    """
    rows, area, windows, D = x.shape
    heads = block.attn.num_heads
    bias = block.attn._get_rel_pos_bias().expand(windows, -1, -1, -1)
    if block.attn_mask is not None:
        bias = bias + block.attn_mask[:, None]
    bias = bias.reshape(1, windows * heads, area, area)
    q, k, v = block.attn.qkv(x).view(rows, area, windows, 3, heads, -1).unbind(3)
    q, k, v = (part.flatten(2, 3).transpose(1, 2) for part in (q, k, v))
    y = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    return y.transpose(1, 2).reshape(rows, area, windows, D)


def project_qkv(x: Tensor, attn: Any) -> tuple[Tensor, ...]:
    """`[G, N, D]` → queries, keys and values, each `[G, heads, N, D / heads]`."""
    G, N, _ = x.shape
    qkv: Tensor = attn.qkv(x).view(G, N, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
    return qkv.unbind(0)
