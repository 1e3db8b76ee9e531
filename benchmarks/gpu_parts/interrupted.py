"""Trainings that end early and are resumed: SIGKILL, SIGTERM, a changed gradient scale."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from gpu_parts.common import Setting
from gpu_parts.forked import config_of, in_child
from safetensors.torch import load_file
from stgcma.errors import StgcmaError
from stgcma.train.config import RunConfig
from stgcma.train.run import train
from torch.optim.optimizer import register_optimizer_step_post_hook

LAST = "checkpoints/last/adapters.safetensors"
STATE = "checkpoints/state.pt"
STEPS_A_CASE = 4


@contextlib.contextmanager
def _at_step(number: int, act: Callable[[], None]) -> Iterator[None]:
    done = 0

    def count(*_: Any) -> None:
        nonlocal done
        done += 1
        if done == number:
            act()

    handle = register_optimizer_step_post_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _signalled(shards: str, run: Path, config: RunConfig, number: int, *, step: int) -> str:
    """Train in a child that gets the signal `number` in its step `step`; return its exit status as a text."""

    def work() -> str:
        with _at_step(step, lambda: os.kill(os.getpid(), number)):
            try:
                train(shards, run, config)
            except SystemExit as left:
                return f"exit {left.code}"
        return "finished"

    try:
        return str(in_child(work))
    except RuntimeError as error:
        return str(error)


def _trained(shards: str, run: Path, config: RunConfig, *, resume: bool = False) -> None:
    def work() -> None:
        train(shards, run, config, resume=resume)

    in_child(work)


def _compare(one: Path, other: Path) -> dict[str, Any]:
    ours, theirs = load_file(one / LAST), load_file(other / LAST)
    largest = max(float((ours[name] - theirs[name]).abs().max()) for name in theirs)
    return {"bitwise": all(torch.equal(ours[name], theirs[name]) for name in theirs), "difference": largest}


def kill(setting: Setting, shards: str, folder: Path) -> dict[str, Any]:
    config = config_of(setting)
    _trained(shards, folder / "whole", config)
    _trained(shards, folder / "again", config)
    ended = _signalled(shards, folder / "killed", config, signal.SIGKILL, step=3)
    _trained(shards, folder / "killed", config, resume=True)
    repeated = _compare(folder / "again", folder / "whole")
    resumed = _compare(folder / "killed", folder / "whole")
    # Two whole runs say how far the device repeats at all.
    fair = resumed["bitwise"] or (not repeated["bitwise"] and resumed["difference"] < 1e-3)
    return {
        "ok": ended == f"ended with -{int(signal.SIGKILL)}" and fair,
        "ended": ended,
        "two_whole_runs": repeated,
        "resumed_and_whole": resumed,
    }


def terminate(setting: Setting, shards: str, folder: Path) -> dict[str, Any]:
    config = config_of(setting)
    ended = _signalled(shards, folder / "run", config, signal.SIGTERM, step=2)
    saved = (folder / "run" / STATE).is_file()
    _trained(shards, folder / "run", config, resume=True)
    steps = len((folder / "run" / "steps.jsonl").read_text().splitlines())
    return {"ok": ended == "exit 143" and saved and steps == STEPS_A_CASE, "ended": ended, "steps": steps}


def overflow(setting: Setting, shards: str, folder: Path) -> dict[str, Any]:
    """Resume with a gradient scale of 2³⁰: steps overflow and are skipped until the scale has fallen."""
    config = config_of(setting, "train.precision=fp16", "optim.epochs=8")
    run = folder / "run"
    ended = _signalled(shards, run, config, signal.SIGTERM, step=1)

    def raise_scale() -> float:
        state = torch.load(run / STATE, weights_only=True)
        if not state["scaler"]:
            raise StgcmaError("there is no gradient scale here")
        state["scaler"]["scale"] = 2.0**30
        torch.save(state, run / STATE)
        return float(state["scaler"]["scale"])

    in_child(raise_scale)
    _trained(shards, run, config, resume=True)
    state = in_child(lambda: dict(torch.load(run / STATE, weights_only=True)["scaler"]))
    rows = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows]
    fell = 0 < state["scale"] < 2.0**30
    return {
        "ok": ended == "exit 143" and fell and len(rows) == 8 * STEPS_A_CASE and losses[-1] < losses[0],
        "scale_at_end": state["scale"],
        "steps": len(rows),
        "first_loss": losses[0],
        "last_loss": losses[-1],
    }
