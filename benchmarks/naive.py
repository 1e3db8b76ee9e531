"""The same mathematics written down naively, with a model's own weights: the yardstick of `training_step.py`.

Every attention matrix of the adapted blocks is built (time, window, tokens, cross-modal), and TPAVI's; the
modalities pass the frozen layers one after the other. It reads like the equations, so it is a test as well,
but not of everything: the stems and the heads of AVE and AVQA (with AVQA's attention over time) are the
model's own here too. AVQA's negative frames pass timm's own backbone.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from stgcma.model import STGCMA
from timm.models.swin_transformer import window_partition, window_reverse
from torch import Tensor
from torch.nn import functional

States = dict[str, Tensor]


def naive_forward(model: STGCMA, **inputs: Tensor) -> dict[str, Tensor]:
    """Return the outputs of `model(**inputs)` for any task and modality; inputs are not checked."""
    encoder: Any = model.encoder
    x: States = {m: encoder._stem(m, inputs[m]) for m in model.config.modalities}
    encoders = {"clip": clip_encoder, "swin": swin_encoder, "swinv2": partial(swin_encoder, v2=True)}
    encode = encoders[model.config.backbone.family]
    encoded = encode(encoder, x, model.config.frames)
    if model.config.task == "avs":
        return avs_head(model.head, encoded, model.config.frames)
    if model.config.task == "avqa":
        negative = inputs.get("negative")
        other = None if negative is None else frozen_tokens(encoder, negative)
        return model.head(encoded, inputs["question"], other, inputs.get("owner"))  # type: ignore[no-any-return]
    return model.head(encoded)  # type: ignore[no-any-return]


@torch.no_grad()
def frozen_tokens(encoder: Any, video: Tensor) -> Tensor:
    """The tokens `[B, T, N, D]` of frames after timm's own backbone."""
    tokens = encoder.backbone.forward_features(video.flatten(0, 1))
    tokens = tokens.view(*video.shape[:2], -1, tokens.shape[-1])
    return tokens[:, :, getattr(encoder, "prefix", 0) :]


def attend(attn: Any, x: Tensor, bias: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """Self-attention `[G, N, D]` by its definition, with timm's projections."""
    G, N, D = x.shape
    q, k, v = attn.qkv(x).reshape(G, N, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    logits = (q * attn.scale) @ k.transpose(-2, -1)
    if bias is not None:
        logits = logits + bias
    if mask is not None:
        logits = logits.view(-1, len(mask), *logits.shape[1:]) + mask[None, :, None]
        logits = logits.view(G, attn.num_heads, N, N)
    out: Tensor = attn.proj((logits.softmax(-1) @ v).transpose(1, 2).reshape(G, N, D))
    return out


def cosine_attend(attn: Any, x: Tensor, bias: Tensor) -> Tensor:
    """Swin V2's self-attention `[G, N, D]` by its definition, with timm's projections and this bias."""
    G, N, D = x.shape
    qkv = attn.qkv(x) + torch.cat([attn.q_bias, torch.zeros_like(attn.q_bias), attn.v_bias])
    q, k, v = qkv.reshape(G, N, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    cosines = functional.cosine_similarity(q[:, :, :, None], k[:, :, None], dim=-1)
    logits = cosines * attn.logit_scale.exp().clamp(max=100) + bias
    out: Tensor = attn.proj((logits.softmax(-1) @ v).transpose(1, 2).reshape(G, N, D))
    return out


def adapt(step: Any, gates: Any, tokens: States) -> States:
    """One step's adapters with the exchange by its definition; tokens `[G, N, D]` by modality."""
    u = {m: functional.gelu(step[m].fc1(x)) for m, x in tokens.items()}
    if gates is not None:
        video = (u["video"] @ u["audio"].transpose(1, 2)).softmax(-1) @ u["audio"]
        audio = (u["audio"] @ u["video"].transpose(1, 2)).softmax(-1) @ u["video"]
        u = {"video": u["video"] + gates.video * video, "audio": u["audio"] + gates.audio * audio}
    return {m: step[m].fc2(hidden) for m, hidden in u.items()}


def clip_encoder(encoder: Any, x: States, _steps: int) -> Any:
    """All blocks of a CLIP; `x` holds `[B, T, N, D]` by modality."""
    from stgcma.model.backbones.encoder import Encoded

    backbone = encoder.backbone
    x = {m: backbone.norm_pre(tokens) for m, tokens in x.items()}
    for block, trained in zip(backbone.blocks, encoder.adapters, strict=True):
        if trained.temporal is not None:
            for m, tokens in x.items():
                B, T, N, D = tokens.shape
                rows = block.norm1(tokens).transpose(1, 2).reshape(B * N, T, D)
                added = block.drop_path1(trained.temporal[m](attend(block.attn, rows)))
                x[m] = tokens + added.view(B, N, T, D).transpose(1, 2)
        y = {m: attend(block.attn, block.norm1(t).flatten(0, 1)) for m, t in x.items()}
        x = add(x, y, trained.spatial, trained.gates)
        z = {m: block.mlp(block.norm2(t).flatten(0, 1)) for m, t in x.items()}
        x = add(x, z, trained.global_, trained.gates)
    return Encoded(pooled={m: backbone.norm(t[:, :, 0]) for m, t in x.items()}, tokens={}, stages=[])


def add(x: States, y: States, step: Any, gates: Any) -> States:
    """The frozen residual `y`, and what the step's adapters make of it."""
    adapted = adapt(step, gates, y) if step is not None else None
    total = {m: x[m] + y[m].view(x[m].shape) for m in x}
    return total if adapted is None else {m: total[m] + adapted[m].view(x[m].shape) for m in x}


def swin_encoder(encoder: Any, x: States, steps: int, *, v2: bool = False) -> Any:
    """All stages of a Swin, or of a Swin V2; `x` holds `[B·T, H, W, D]` by modality."""
    from stgcma.model.backbones.encoder import Encoded

    stages = []
    for stage, adapters in zip(encoder.backbone.layers, encoder.adapters, strict=True):
        x = {m: stage.downsample(grid) for m, grid in x.items()}
        for block, trained in zip(stage.blocks, adapters, strict=True):
            if trained.temporal is not None:
                x = {m: swin_temporal(block, trained, m, grid, steps, v2=v2) for m, grid in x.items()}
            x = swin_spatial(block, trained, x, v2=v2)
            x = swin_global(block, trained, x, parallel=encoder.parallel, v2=v2)
        stages.append(x.get("video"))
    x = {m: encoder.backbone.norm(grid) for m, grid in x.items()}
    stages[-1] = x.get("video")
    tokens = {
        m: grid.flatten(1, 2).view(-1, steps, grid[0, ..., 0].numel(), grid.shape[-1])
        for m, grid in x.items()
    }
    return Encoded(pooled={m: t.mean(2) for m, t in tokens.items()}, tokens=tokens, stages=stages)  # type: ignore[arg-type]


def swin_temporal(block: Any, trained: Any, m: str, x: Tensor, steps: int, *, v2: bool) -> Tensor:
    """Step 1 for one modality."""
    rows, H, W, D = x.shape
    columns = (x if v2 else block.norm1(x)).view(-1, steps, H * W, D).transpose(1, 2).reshape(-1, steps, D)
    at = torch.arange(steps, device=x.device)
    bias = trained.temporal_bias[m][at[:, None] - at[None] + steps - 1].permute(2, 0, 1)
    y = block.norm1(cosine_attend(block.attn, columns, bias)) if v2 else attend(block.attn, columns, bias)
    added = block.drop_path1(trained.temporal[m](y))
    return x + added.view(-1, H * W, steps, D).transpose(1, 2).reshape(rows, H, W, D)


def swin_spatial(block: Any, trained: Any, x: States, *, v2: bool) -> States:
    """Step 2 for all modalities; the attention of Swin V2 is timm's."""
    shift, window = block.shift_size, block.window_size
    y = {}
    for m, grid in x.items():
        rolled = torch.roll(grid if v2 else block.norm1(grid), (-shift[0], -shift[1]), (1, 2))
        rows = window_partition(rolled, window).flatten(1, 2)
        if v2:
            y[m] = block.norm1(block.attn(rows, block.attn_mask))
        else:
            y[m] = attend(block.attn, rows, block.attn._get_rel_pos_bias(), block.attn_mask)
    added = adapt(trained.spatial, trained.gates, y) if trained.spatial is not None else None
    for m, grid in x.items():
        _, H, W, D = grid.shape
        total = y[m] if added is None else y[m] + added[m]
        back = window_reverse(total.view(-1, *window, D), window, H, W)
        x = {**x, m: grid + torch.roll(back, shift, (1, 2))}
    return x


def swin_global(block: Any, trained: Any, x: States, *, parallel: bool, v2: bool) -> States:
    """Step 3 for all modalities."""
    if v2:
        after = {m: block.norm2(block.mlp(grid.flatten(1, 2))) for m, grid in x.items()}
        return add(x, after, trained.global_, trained.gates)
    n = {m: block.norm2(grid).flatten(1, 2) for m, grid in x.items()}
    z = {m: block.mlp(tokens) for m, tokens in n.items()}
    if parallel and trained.global_ is not None:
        ((m, grid),) = x.items()
        beside = block.drop_path2(0.5 * trained.global_[m](n[m]))
        return {m: grid + z[m].view(grid.shape) + beside.view(grid.shape)}
    return add(x, z, trained.global_, trained.gates)


def avs_head(head: Any, encoded: Any, steps: int) -> dict[str, Tensor]:
    """The AVS head with TPAVI by its definition."""
    audio = head.audio(encoded.pooled["audio"])
    maps = []
    for stage, x in enumerate(encoded.stages):
        x = head.context[stage](head.reduce[stage](x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = quadratic_tpavi(head.tpavi[stage], x.reshape(-1, steps, *x.shape[1:]), audio)
        maps.append(x.flatten(0, 1).permute(0, 3, 1, 2))
    x = head.fuse[3](maps[3])
    for stage in (2, 1, 0):
        x = head.fuse[stage](x, maps[stage])
    x = functional.interpolate(head.to_half(x), scale_factor=2, mode="bilinear", align_corners=False)
    x = head.to_mask(functional.relu(head.to_eighth(x)))
    if x.shape[-1] < head.pixels:
        x = functional.interpolate(x, size=(head.pixels,) * 2, mode="bilinear", align_corners=False)
    return {"mask_logits": x.view(-1, steps, *x.shape[1:])}


def quadratic_tpavi(layer: Any, x: Tensor, audio: Tensor) -> Tensor:
    """TPAVI with the whole T·H·W × T·H·W matrix."""
    B, T, H, W, C = x.shape
    pixels = x.view(B, T * H * W, C)
    sound = layer.align_audio(audio).repeat_interleave(H * W, dim=1)
    theta, phi, g = layer.theta(pixels), layer.phi(sound), layer.g(pixels)
    f = theta @ phi.transpose(1, 2) / (T * H * W)
    z = layer.batch_norm(layer.out(f @ g).view(-1, C))
    normed: Tensor = layer.norm(z.view(x.shape) + x)
    return normed
