"""Comparison of runs to the bit."""

import torch

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
