"""A benchmark's figures: two sides measured in turns, and what one is of the other."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class MeasurementError(Exception):
    """A side failed, or does something else than the other."""


@dataclass(frozen=True)
class Figure:
    """One figure of ours beside its baseline, each measured once a round, the sides taking turns.

    Attributes:
        name: what is measured; `unit` in what.
        ours, theirs: the measurements `[rounds]`.
        baseline: what the other side is.
        target: the bound of ours ÷ theirs, from above; from below with `at_least`; of ours − theirs with
            `difference`. None for what is only told.
        note: a sentence more.
    """

    name: str
    unit: str
    baseline: str
    ours: Sequence[float]
    theirs: Sequence[float]
    target: float | None = None
    at_least: bool = False
    difference: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        if not self.ours or len(self.ours) != len(self.theirs):
            raise ValueError(f"{self.name}: {len(self.ours)} rounds of ours, {len(self.theirs)} of the other")

    @property
    def compared(self) -> list[float]:
        """Ratio ours ÷ theirs of every round, or the difference."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return [a - b if self.difference else a / b for a, b in pairs]

    @property
    def middle(self) -> float:
        """The median of the rounds' comparisons."""
        return statistics.median(self.compared)

    @property
    def met(self) -> bool | None:
        """True when the median meets the target; None without a target."""
        if self.target is None:
            return None
        return self.middle >= self.target if self.at_least else self.middle <= self.target

    def to_json(self) -> dict[str, Any]:
        """Return the fields, and the comparison of the sides."""
        return asdict(self) | {"compared": self.compared, "median": self.middle, "met": self.met}


def in_turns(rounds: int, ours: Callable[[], T], theirs: Callable[[], T]) -> tuple[list[T], list[T]]:
    """Measure both sides `rounds` times; every other round begins with the other side."""
    made: tuple[list[T], list[T]] = ([], [])
    for number in range(rounds):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            made[side].append((ours, theirs)[side]())
    return made


def of_both(
    runs: tuple[list[dict[str, float]], list[dict[str, float]]], key: str, scale: float = 1.0
) -> tuple[list[float], list[float]]:
    """Return the values under `key` of the rounds of both sides, times `scale`."""
    ours, theirs = runs
    return [scale * run[key] for run in ours], [scale * run[key] for run in theirs]


def measured_apart(script: str, *arguments: object) -> dict[str, float]:
    """Run `script` with `arguments` in a process of its own, and return the JSON of its last line."""
    command = [sys.executable, script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise MeasurementError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def resident_bytes(field: str) -> int:
    """`VmRSS` (now) or `VmHWM` (highest since the last reset) of this process."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split(field + ":")[1].split()[0])


@dataclass(frozen=True)
class Cost:
    """Cost of a command with all its child processes; `peak_bytes` is that of the largest process."""

    cpu_seconds: float
    seconds: float
    peak_bytes: int


# A process that Linux starts from another is charged with the other's memory: the one between is small.
_STARTER = """
import json, resource, subprocess, sys, time
started = time.monotonic()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
seconds = time.monotonic() - started
spent = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([spent.ru_utime + spent.ru_stime, seconds, 1024 * spent.ru_maxrss]))
sys.exit(done.returncode)
"""


def cost_of(command: Sequence[str]) -> Cost:
    """Run a command and return its cost. Raises MeasurementError when it fails."""
    starter = [sys.executable, "-S", "-c", _STARTER, *command]
    done = subprocess.run(starter, capture_output=True, text=True)
    if done.returncode:
        raise MeasurementError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    return Cost(*json.loads(done.stdout))
