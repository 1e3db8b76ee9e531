"""Idle time, copies and synchronisations of training steps, from a trace of torch's profiler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

ON_GPU = ("kernel", "gpu_memcpy", "gpu_memset")
RUNTIME = ("cuda_runtime", "cuda_driver")
SYNCHRONISING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")


def account(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Count operations, copies, waits and idle time of the profiled steps.

    events: the complete events of a trace in Chrome's format; `ts` and `dur` in microseconds.

    Returns seconds a step, the share of it in which the GPU had nothing to do (None where nothing ran on
    one), and by step: kernels, copies by direction, waits of the CPU for the GPU, operators of the CPU.
    Raises ValueError without a profiled step.
    """
    complete = [event for event in events if event.get("ph") == "X"]
    steps = [
        event
        for event in complete
        if str(event["name"]).startswith("ProfilerStep") and event.get("cat") == "user_annotation"
    ]
    if not steps:
        raise ValueError("the trace has no profiled step")
    begin = min(event["ts"] for event in steps)
    end = max(event["ts"] + event["dur"] for event in steps)
    count = len(steps)
    within = [event for event in complete if begin <= event["ts"] < end]
    on_gpu = [event for event in within if event.get("cat") in ON_GPU]
    busy = _covered((event["ts"], min(event["ts"] + event["dur"], end)) for event in on_gpu)
    copies = Counter(
        " ".join(str(event["name"]).split()[:2]) for event in on_gpu if event["cat"] == "gpu_memcpy"
    )
    waits = Counter(
        str(event["name"])
        for event in within
        if event.get("cat") in RUNTIME and event["name"] in SYNCHRONISING
    )
    return {
        "steps": count,
        "seconds_a_step": (end - begin) / count / 1e6,
        "idle_share": 1 - busy / (end - begin) if on_gpu else None,
        "kernels_a_step": sum(event["cat"] == "kernel" for event in on_gpu) / count,
        "copies_a_step": {name: number / count for name, number in copies.items()},
        "waits_a_step": {name: number / count for name, number in waits.items()},
        "operators_a_step": sum(event.get("cat") == "cpu_op" for event in within) / count,
    }


def _covered(intervals: Iterable[tuple[float, float]]) -> float:
    """The length of the union of intervals `[start, end)`."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total
