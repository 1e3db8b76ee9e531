"""The state of a run between two steps, from which it is resumed exactly.

Order, augmentation and dropout are functions of the seed and the step, so that the state holds no state of a
generator.
"""

from __future__ import annotations

import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.amp.grad_scaler import GradScaler

from ..errors import InputError
from ..model import STGCMA
from ..model.tensor_files import load_tensors
from ..model.torch_files import load_torch
from ..shards.files import published
from .totals import Totals


@dataclass
class Progress:
    """The position of a run and its results so far.

    Attributes:
        step: optimiser steps done.
        epoch: the current epoch, counted from 0.
        batch: steps done of that epoch.
        totals: of the current epoch so far.
        best_epoch: counted from 1; 0 when no epoch is done.
        best_score: of that epoch, on the selection split.
        training_seconds: of the training steps, without scoring.
        seconds: in all.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    totals: Totals = field(default_factory=Totals)
    best_epoch: int = 0
    best_score: float = 0.0
    training_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def scoring_seconds(self) -> float | None:
        """Mean time of an epoch beside its steps, nearly all for scoring; None before an epoch is done."""
        return (self.seconds - self.training_seconds) / self.epoch if self.epoch else None

    def to_state(self) -> dict[str, Any]:
        """Return the fields as state files store them: `sums` in place of `totals`."""
        fields = {name: value for name, value in asdict(self).items() if name != "totals"}
        return fields | {"sums": self.totals.to_sums()}

    @classmethod
    def from_state(cls, content: dict[str, Any]) -> Progress:
        """Return the progress in the form of `to_state`."""
        fields = dict(content)
        totals = Totals.from_sums(fields.pop("sums"))
        return cls(**fields, totals=totals)


def save_state(
    path: Path,
    progress: Progress,
    model: STGCMA,
    optimizer: torch.optim.Optimizer,
    scaler: GradScaler,
) -> None:
    """Write the state to `path` atomically."""
    state = {
        "progress": progress.to_state(),
        "trained": {name: tensor.detach() for name, tensor in model.trained_tensors().items()},
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with published(path) as stream:
        torch.save(state, stream)


def load_state(path: Path, model: STGCMA, optimizer: torch.optim.Optimizer, scaler: GradScaler) -> Progress:
    """Load the state at `path` into the model, optimiser and scaler, and return the progress.

    Raises InputError when it is damaged.
    """
    try:
        state: dict[str, Any] = load_torch(path)
        load_tensors(model.trained_tensors(), state["trained"], path)
        for saved, group in zip(state["optimizer"]["param_groups"], optimizer.param_groups, strict=True):
            saved["fused"] = group["fused"]  # of this device
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        return Progress.from_state(state["progress"])
    except (
        AttributeError,
        RuntimeError,
        KeyError,
        TypeError,
        ValueError,
        EOFError,
        OSError,
        pickle.UnpicklingError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path} cannot be read ({reason}); start the run again with the option overwrite"
        ) from error
