"""Batch normalisation inside a block, whose running statistics a second run leaves as they are."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from .recomputation import recomputing


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation `[rows, C]`, with running statistics of momentum 0.1 and eps 1e-5."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `[rows, C]`, in training with the statistics of the rows."""
        if not (self.training and recomputing()):
            return super().forward(x)
        # Copies, so that the second run saves as many tensors as the first.
        mean, variance = (
            buffer.clone() for buffer in (self.running_mean, self.running_var) if buffer is not None
        )
        return functional.batch_norm(x, mean, variance, self.weight, self.bias, training=True, eps=self.eps)
