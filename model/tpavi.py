"""TPAVI: every pixel of every time step hears the sound of all time steps (AVSBench, arXiv 2207.05042)."""

from __future__ import annotations

from torch import Tensor, nn

CHANNELS = 256
INNER = 128
AUDIO_WIDTH = 128


class Tpavi(nn.Module):
    """`LayerNorm(BatchNorm(Conv(y)) + x)` with `y = θ φᵀ g / (T·H·W)` over all positions of a clip.

    θ and g come from the picture, φ from the sound, which is the same at every place of a time step. There is
    no softmax, so the product is taken from the right, and the T·H·W × T·H·W matrix `θ φᵀ` never exists:
    `φᵀ g / (T·H·W) = Σ_t φ_t ⊗ g(mean over space of x_t) / T`, because g is affine too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.align_audio = nn.Linear(AUDIO_WIDTH, CHANNELS)
        self.theta = nn.Linear(CHANNELS, INNER)
        self.phi = nn.Linear(CHANNELS, INNER)
        self.g = nn.Linear(CHANNELS, INNER)
        self.out = nn.Linear(INNER, CHANNELS)
        self.batch_norm = nn.BatchNorm1d(CHANNELS)
        self.norm = nn.LayerNorm(CHANNELS)
        nn.init.zeros_(self.batch_norm.weight)
        nn.init.zeros_(self.batch_norm.bias)

    def forward(self, x: Tensor, audio: Tensor) -> Tensor:
        """`[B, T, H, W, 256]` and `[B, T, 128]` → `[B, T, H, W, 256]`."""
        B, T = x.shape[:2]
        phi = self.phi(self.align_audio(audio))
        g = self.g(x.mean((2, 3)))
        kernel = phi.transpose(1, 2) @ g / T  # [B, 128, 128]
        y = self.theta(x).view(B, -1, INNER) @ kernel
        z = self.batch_norm(self.out(y).view(-1, CHANNELS))
        normed: Tensor = self.norm(z.view(x.shape) + x)
        return normed
