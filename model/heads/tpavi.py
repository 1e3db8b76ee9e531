"""TPAVI: every pixel of every time step hears the sound of all time steps (AVSBench, arXiv 2207.05042)."""

from __future__ import annotations

from torch import Tensor, nn

AUDIO_WIDTH = 128


class Tpavi(nn.Module):
    """`LayerNorm(BatchNorm(Conv(y)) + x)` with `y = θ φᵀ g / (T·H·W)` over all positions of a clip.

    θ and g come from the picture, φ from the sound, which is the same at every place of a time step. There is
    no softmax, so the product is taken from the right, and the T·H·W × T·H·W matrix `θ φᵀ` never exists:
    `φᵀ g / (T·H·W) = Σ_t φ_t ⊗ g(mean over space of x_t) / T`, because g is affine too.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = inner = channels // 2
        self.align_audio = nn.Linear(AUDIO_WIDTH, channels)
        self.theta = nn.Linear(channels, inner)
        self.phi = nn.Linear(channels, inner)
        self.g = nn.Linear(channels, inner)
        self.out = nn.Linear(inner, channels)
        self.batch_norm = nn.BatchNorm1d(channels)
        self.norm = nn.LayerNorm(channels)
        nn.init.zeros_(self.batch_norm.weight)
        nn.init.zeros_(self.batch_norm.bias)

    def forward(self, x: Tensor, audio: Tensor) -> Tensor:
        """`[B, T, H, W, C]` and `[B, T, 128]` → `[B, T, H, W, C]`."""
        B, T = x.shape[:2]
        phi = self.phi(self.align_audio(audio))
        g = self.g(x.mean((2, 3)))
        kernel = phi.transpose(1, 2) @ g / T  # [B, C/2, C/2]
        y = self.theta(x).view(B, -1, self.inner) @ kernel
        z = self.batch_norm(self.out(y).view(-1, x.shape[-1]))
        normed: Tensor = self.norm(z.view(x.shape) + x)
        return normed
