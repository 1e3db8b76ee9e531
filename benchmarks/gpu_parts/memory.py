"""Trainings with too little memory on the GPU: every failure is one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gpu_parts.common import Setting
from gpu_parts.forked import config_of, in_child, tried
from stgcma.errors import StgcmaError
from stgcma.train.config import load_preset
from stgcma.train.run import train

# Memory that cuBLAS finds free on the card when it allocates its handle and its workspace.
_FREE_MEBIBYTES = (400, 150, 60, 30)


def out_of_memory(setting: Setting, shards: str, folder: Path) -> dict[str, Any]:
    """Train with too little memory: the error is one line that says which settings would fit."""
    if setting.device != "cuda":
        return {"ok": None, "unmeasured": "needs a GPU"}

    def work() -> str:
        torch.cuda.set_per_process_memory_fraction(0.02)
        config = load_preset(
            "ave-clip-b16-base",
            ["model.weights=null", "data.workers=0", "optim.batch_size=8", "train.precision=fp32"],
        )
        return _message_of(lambda: train(shards, folder / "run", config))

    return _judged(in_child(work))


def out_of_cublas(setting: Setting, shards: str, folder: Path) -> dict[str, Any]:
    """Train with little memory left on the card for cuBLAS: every failure is one line."""
    if setting.device != "cuda":
        return {"ok": None, "unmeasured": "needs a GPU"}

    def work(free_mebibytes: int) -> str:
        free, _ = torch.cuda.mem_get_info()
        held = torch.empty(free - (free_mebibytes << 20), dtype=torch.uint8, device="cuda")
        run = folder / f"run-{free_mebibytes}"
        message = _message_of(lambda: train(shards, run, config_of(setting, "train.save_every_steps=9")))
        del held
        return message

    told, right = {}, []
    for free in _FREE_MEBIBYTES:
        one = tried(lambda free=free: _judged(in_child(lambda: work(free))))
        told[f"{free} MiB"] = one.get("message", one.get("failed"))
        right.append(one.get("ok") is True or one.get("message") == "finished")
    return {"ok": all(right), **told}


def _message_of(work: Callable[[], object]) -> str:
    try:
        work()
    except StgcmaError as error:
        return str(error)
    return "finished"


def _judged(message: str) -> dict[str, Any]:
    one_line = len(message.splitlines()) == 1
    return {"ok": message.startswith("out of memory") and one_line, "message": message}
