"""The whole state of a run between two steps, from which it goes on as if it had never stopped.

Order, augmentation and dropout are functions of the seed and the place in the run, so that no generator's
state has to be kept.
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


@dataclass
class Progress:
    """Where a run is.

    Attributes:
        step: optimiser steps done.
        epoch: the epoch that is under way, counted from 0.
        batch: steps done of that epoch.
        sums: of the epoch so far: losses, score, and their counts, by name.
        best_epoch: counted from 1; 0 when no epoch is done.
        best_score: of that epoch, on the selection split.
        training_seconds: spent in epochs, scoring not counted.
        seconds: spent in all.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    best_score: float = 0.0
    training_seconds: float = 0.0
    seconds: float = 0.0


def save_state(
    path: Path,
    progress: Progress,
    model: STGCMA,
    optimizer: torch.optim.Optimizer,
    scaler: GradScaler,
) -> None:
    """Writes the state; `path` holds all of it or what it held before."""
    state = {
        "progress": asdict(progress),
        "trained": {name: tensor.detach() for name, tensor in model.trained_tensors().items()},
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with published(path) as stream:
        torch.save(state, stream)


def load_state(path: Path, model: STGCMA, optimizer: torch.optim.Optimizer, scaler: GradScaler) -> Progress:
    """Puts the state at `path` into its parts. Raises InputError when it is damaged."""
    try:
        state: dict[str, Any] = load_torch(path)
        load_tensors(model.trained_tensors(), state["trained"], path)
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        return Progress(**state["progress"])
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
        raise InputError(f"{path} cannot be read ({reason}); start the run again with --overwrite") from error
