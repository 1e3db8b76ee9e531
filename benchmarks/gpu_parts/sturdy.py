"""Part `sturdy`: kills and resuming, deterministic mode, full memory, NCCL, SIGTERM, fp16 that overflows.

Nothing is timed here, so the cases run side by side, each in forked processes of its own.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu_parts.agreement import deterministic, one_rank
from gpu_parts.common import TINY_PRESETS, Report, Setting
from gpu_parts.forked import in_child, tried
from gpu_parts.interrupted import kill, overflow, terminate
from gpu_parts.memory import out_of_cublas, out_of_memory
from gpu_parts.shards import make_shards
from stgcma.train.config import load_preset

Case = Callable[[Setting, str, Path], dict[str, Any]]


def run(setting: Setting, report: Report) -> None:
    """Add a row for each case."""
    cases: dict[str, Case] = {
        "SIGKILL and --resume": kill,
        "deterministic mode": deterministic,
        "SIGTERM and --resume": terminate,
        "fp16 with an overflowing step": overflow,
        "one rank of NCCL (gloo on a CPU)": one_rank,
        "out of memory, torch's allocator": out_of_memory,
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        # Made in a child as well: nothing of torch may have run before the forks.
        in_child(lambda: str(make_shards(folder / "shards", train=8, others=1)))
        # Before the threads: a process forked while a thread imports a module may wait for it for ever.
        for preset in TINY_PRESETS:
            load_preset(preset)
        lock = threading.Lock()

        def attempt(name: str, case: Case) -> None:
            inside = folder / name.replace(" ", "-").replace(",", "")
            inside.mkdir()
            values = tried(lambda: case(setting, str(folder / "shards"), inside))
            with lock:
                report.add(name, **values)

        threads = [
            threading.Thread(target=attempt, args=case) for case in cases.items() if report.is_wanted(case[0])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if report.is_wanted(name := "out of memory, cuBLAS"):
            attempt(name, out_of_cublas)  # alone: it fills the whole card
