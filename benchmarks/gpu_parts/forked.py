"""Forked processes for the part `sturdy`: torch is imported once, CUDA is started in the children."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from typing import Any

import torch
from gpu_parts.common import Setting
from stgcma.train.config import RunConfig, load_preset

_CASE_SECONDS = 120
_FORKS = threading.Lock()  # libraries with hooks around a fork do not expect two at once


def tried(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the result of `work`, or its error as a row that is not right."""
    try:
        return work()
    except Exception as error:
        return {"ok": False, "failed": f"{type(error).__name__}: {error}"[:1000]}


def config_of(setting: Setting, *chosen: str) -> RunConfig:
    """Return the settings of a small AVE model, also with a GPU: the cases do not depend on its size."""
    settings = [*setting.model_settings("ave-demo"), "data.workers=0", "train.save_every_steps=1"]
    settings += ["optim.batch_size=2", "optim.epochs=1", "optim.warmup_epochs=0", *chosen]
    return load_preset("ave-demo", settings)


def in_child(work: Callable[[], Any]) -> Any:
    """Run `work` in a forked process and return its result.

    Raises RuntimeError with its error, or its exit status.
    """
    fork = multiprocessing.get_context("fork")

    def call() -> None:
        torch.set_num_threads(1)
        try:
            theirs.send((True, work()))
        except BaseException as error:
            theirs.send((False, f"{type(error).__name__}: {error}"))
            raise

    # A child that another thread forks must not hold this pipe: the end of this one would go unnoticed.
    with _FORKS:
        ours, theirs = fork.Pipe(duplex=False)
        child = fork.Process(target=call)
        child.start()
        theirs.close()
    try:
        done, value = ours.recv() if ours.poll(_CASE_SECONDS) else (False, f"no answer in {_CASE_SECONDS} s")
    except EOFError:
        child.join()
        done, value = False, f"ended with {child.exitcode}"
    finally:
        child.join(5)
        if child.is_alive():
            child.kill()
    if not done:
        raise RuntimeError(value)
    return value
