"""The cores that this process may use, which may be fewer than the machine has."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Return their number: those that the process is bound to, where the system tells; else the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
