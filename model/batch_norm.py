"""Batch normalisation over the rows that count, whose running statistics a second run leaves as they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .adapters.recomputation import recomputing


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation `[rows, C]`, with running statistics of momentum 0.1 and eps 1e-5."""

    def forward(self, x: Tensor, counted: Tensor | None = None) -> Tensor:
        """Normalise `[rows, C]`, in training with the statistics of the rows.

        Args:
            x: the rows, in groups of equal size, one after the other.
            counted: `[groups]` bool, False for the groups that the statistics leave out; None for all rows.
        """
        if self.training and counted is not None:
            return self.over_counted(x, counted)
        if not (self.training and recomputing()):
            return super().forward(x)
        # Copies, so that the second run saves as many tensors as the first.
        mean, variance = (
            buffer.clone() for buffer in (self.running_mean, self.running_var) if buffer is not None
        )
        return functional.batch_norm(x, mean, variance, self.weight, self.bias, training=True, eps=self.eps)

    def over_counted(self, x: Tensor, counted: Tensor) -> Tensor:
        """Normalise `[rows, C]` with the statistics of the groups in `counted`, at least in float32.

        Sizes do not depend on values: the host does not wait for a GPU, and a compiler has one graph.
        """
        rows = x.to(torch.promote_types(x.dtype, torch.float32)).view(len(counted), -1, x.shape[-1])
        share = counted.to(rows.dtype)[:, None]
        count = share.sum(0) * rows.shape[1]
        sums = self.summed(torch.cat([(rows.sum(1) * share).sum(0), count]))
        total = sums[-1].clamp(min=1)
        mean = sums[:-1] / total
        centred = rows - mean
        variance = self.summed((centred.square().sum(1) * share).sum(0)) / total
        if not recomputing():
            self._update_statistics(mean.detach(), variance.detach(), total)
        normed = centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias
        return normed.view(x.shape).to(x.dtype)

    def summed(self, values: Tensor) -> Tensor:
        """Return the sums of `values` over the processes that share the statistics: here, of this one."""
        return values

    @torch.no_grad()
    def _update_statistics(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        norm: Any = self  # torch's types allow None for running statistics; the model's norms all have them
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
        unbiased = variance * count / (count - 1).clamp(min=1)
        norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), norm.momentum)
        norm.num_batches_tracked.add_(1)
