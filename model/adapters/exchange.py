"""The gated exchange between the modalities."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Gates(nn.Module):
    """One scalar per modality, zero at the start; a block's spatial and global step share them."""

    def __init__(self) -> None:
        super().__init__()
        self.video = nn.Parameter(torch.zeros(1))
        self.audio = nn.Parameter(torch.zeros(1))

    def forward(self, video: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """`u_m + g_m·c_m`, where `c_v = softmax(u_v u_aᵀ) u_a` and `c_a` is its mirror image.

        `video` is `[..., N_v, h]`, `audio` `[..., N_a, h]`, in groups of tokens that see each other.
        """
        return (
            torch.addcmul(video, self.video.to(video.dtype), cross_attend(video, audio)),
            torch.addcmul(audio, self.audio.to(audio.dtype), cross_attend(audio, video)),
        )


def cross_attend(query: Tensor, other: Tensor) -> Tensor:
    """`softmax(query·otherᵀ)·other` without scaling; `[..., N, h]`, `[..., N', h]` → `[..., N, h]`.

    The logits are unscaled and pass the range of half precision easily. Every kernel behind
    `scaled_dot_product_attention` keeps them in float32 whatever the inputs are, so nothing overflows.
    """
    # The fused kernels want four dimensions.
    q, kv = (x.view(x.shape[0], -1, *x.shape[-2:]) for x in (query, other))
    return functional.scaled_dot_product_attention(q, kv, kv, scale=1.0).view(query.shape)
