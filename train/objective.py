"""The model and the loss of its task as one module, which a step differentiates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..model import STGCMA
from ..model.inputs import normalise_frames
from .sections import LossConfig
from .tasks.base import Task, Tensors, Terms

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""The number formats of the activations, by the names that `train.precision` has."""


def set_tf32(*, allowed: bool) -> None:
    """Allow or forbid TF32 in fp32 matrix products and convolutions, in this process.

    torch forbids it for the former and allows it for the latter by default, and other libraries change that.
    """
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed


class Objective(nn.Module):
    """The model and its task: tensors of a batch to the terms of its loss."""

    def __init__(self, model: STGCMA, task: Task, loss: LossConfig, precision: str) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.loss = loss
        self.precision = precision
        model.head.returns_features = task.needs_features(loss)

    def forward(self, inputs: Tensors, targets: Tensors, weight: Tensor) -> Terms:
        return self.task.terms(run_model(self.model, inputs, self.precision), targets, weight, self.loss)

    def total(self, sums: Tensors, counts: dict[str, float]) -> Tensor:
        """Return `Σ weight · sum / count` with the counts of the whole batch; a loss without counts is 0."""
        weights = self.task.weights(self.loss)
        return torch.stack(
            [weights[name] * total / max(counts[name], 1.0) for name, total in sums.items()]
        ).sum()


def run_model(model: STGCMA, inputs: Tensors, precision: str, *, explain: bool = False) -> Tensors:
    """Return the model's outputs for `inputs`, with activations in `precision`.

    Frames may be uint8 pixels, which are normalised here, on the model's device. `explain` is passed to the
    model.
    """
    dtype = DTYPES[precision]
    device = next(iter(inputs.values())).device.type
    known = model.trained_on or model.config.backbone
    mean, std = known.image_mean, known.image_std
    inputs = {
        name: normalise_frames(x, mean, std) if x.dtype == torch.uint8 else x for name, x in inputs.items()
    }
    with torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32):
        outputs: Tensors = model(**inputs, explain=explain)
    return outputs
