"""Comparison of runs to the bit, and runs that are killed."""

import pytest
import torch
from stgcma.train import trainer as training
from stgcma.train.run import train

LAST = "checkpoints/last/adapters.safetensors"


def outcome(run):
    """Return all that must be equal: weights and optimiser, losses and order of the clips, scores."""
    state = torch.load(run / "checkpoints" / "state.pt", weights_only=True)
    state["progress"] = {k: v for k, v in state["progress"].items() if "seconds" not in k}
    return {
        "weights": (run / LAST).read_bytes(),
        "best": (run / "checkpoints/best/adapters.safetensors").read_bytes(),
        "state": state,
        "steps": (run / "steps.jsonl").read_text(),
        "epochs": (run / "metrics.jsonl").read_text(),
    }


def assert_same(found, expected):
    assert found["steps"] == expected["steps"]
    assert found["epochs"] == expected["epochs"]
    assert found["weights"] == expected["weights"]
    assert found["best"] == expected["best"]
    assert equal(found["state"], expected["state"])


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


class KilledError(BaseException):
    """Stands for a kill: nothing in the program handles it."""


def train_killed(shards, run, config, monkeypatch, *, after):
    """Train, and be killed after the step `after`, before its state is saved."""
    step = training.Trainer._step

    def killed(trainer, *arguments):
        stop = step(trainer, *arguments)
        if trainer.progress.step == after:
            raise KilledError
        return stop

    with monkeypatch.context() as patch:
        patch.setattr(training.Trainer, "_step", killed)
        with pytest.raises(KilledError):
            train(shards, run, config)
