"""Checks of memory, disk, shared memory and cores, of the machine or of the container."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ..cores import usable_cores
from ..figures import mebibytes
from .findings import Finding, Level

_GIB = 1 << 30
# The demo trains the smallest model and peaks at about 1 GiB; its decoding processes need more.
_LEAST_MEMORY_BYTES = 3 * _GIB
# Below, not even the demo's videos and shards fit; a real collection's shards take gigabytes.
_LEAST_DISK_BYTES = _GIB // 2
_ROOMY_DISK_BYTES = 20 * _GIB
# Containers have 64 MiB by default, which a few batches in transit fill.
_LEAST_SHARED_BYTES = _GIB // 2

# Free and total bytes of the file system of a folder.
Usage = Callable[[Path], tuple[int, int]]


def usage(folder: Path) -> tuple[int, int]:
    """Return the free and the total bytes of the file system of `folder`."""
    found = shutil.disk_usage(folder)
    return found.free, found.total


def check_disk(folders: Mapping[str, Path] | None = None, *, usage: Usage = usage) -> Iterator[Finding]:
    """Check the free disk space of the working directory and of the temporary files."""
    places = {"disk": Path.cwd(), "temporary files": Path(tempfile.gettempdir())}
    for name, folder in (folders or places).items():
        free, total = usage(folder)
        text = f"{_gib(free)} of {_gib(total)} free in {folder}"
        elsewhere = "set TMPDIR to a larger disk" if name == "temporary files" else "work on a larger disk"
        if free < _LEAST_DISK_BYTES:
            yield Finding(name, Level.PROBLEM, text, f"free some space, or {elsewhere}")
        elif free < _ROOMY_DISK_BYTES and name == "disk":
            text = f"{text}: enough for the demo, not for a whole collection"
            yield Finding(name, Level.WARNING, text, f"free some space, or {elsewhere}")
        else:
            yield Finding(name, Level.OK, text)


def check_shared_memory(folder: Path = Path("/dev/shm"), *, usage: Usage = usage) -> Iterator[Finding]:  # noqa: S108
    """Check the shared memory, through which loader workers pass batches."""
    if not folder.is_dir():
        yield Finding("shared memory", Level.NOTE, f"there is no {folder} on this system")
        return
    free, total = usage(folder)
    text = f"{mebibytes(free)} of {mebibytes(total)} free in {folder}"
    if free < _LEAST_SHARED_BYTES:
        remedy = "give the container --shm-size 2g, or train with --set data.workers=0"
        yield Finding("shared memory", Level.WARNING, text, remedy)
    else:
        yield Finding("shared memory", Level.OK, text)


def check_memory(root: Path = Path("/")) -> Iterator[Finding]:
    """Check the free memory, within the limit of the control group."""
    free = _free_memory_bytes(root)
    if free is None:
        yield Finding("memory", Level.NOTE, "the free memory of this system is unknown")
    elif free < _LEAST_MEMORY_BYTES:
        remedy = "end other programs, raise the container's limit, or use fewer --workers"
        yield Finding("memory", Level.WARNING, f"{_gib(free)} free", remedy)
    else:
        yield Finding("memory", Level.OK, f"{_gib(free)} free")


def _free_memory_bytes(root: Path) -> int | None:
    meminfo = root / "proc/meminfo"
    if not meminfo.is_file():
        return None
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    free = int(lines["MemAvailable"].split()[0]) * 1024
    # Control groups, version 2 and 1: cgroup-v2.rst and cgroup-v1/memory.rst in Linux's admin-guide.
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        allowed = _read(root / "sys/fs/cgroup" / limit)
        taken = _read(root / "sys/fs/cgroup" / used)
        if allowed.isdigit() and taken.isdigit():
            free = min(free, int(allowed) - int(taken))
    return max(free, 0)


def check_cores(environment: Mapping[str, str] = os.environ, *, root: Path = Path("/")) -> Iterator[Finding]:
    """Check the cores that this process may use, and the OpenMP settings."""
    cores = usable_cores()
    quota, _, period = _read(root / "sys/fs/cgroup/cpu.max").partition(" ")
    limit = ""
    if quota.isdigit() and period.isdigit() and int(quota) < cores * int(period):
        limit = f", of which the container's quota allows {int(quota) / int(period):.1f}"
    yield Finding("cores", Level.OK, f"{cores}{limit}")
    settings = {
        name: environment[name] for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY") if name in environment
    }
    text = ", ".join(f"{name}={value}" for name, value in settings.items()) or "nothing is set"
    threads = settings.get("OMP_NUM_THREADS", "1").split(",")[0]
    if not threads.isdigit() or not 0 < int(threads) <= cores:
        remedy = f"unset OMP_NUM_THREADS, or set it to at most {cores}"
        yield Finding("OpenMP", Level.WARNING, text, remedy)
    elif settings.get("OMP_WAIT_POLICY", "PASSIVE").upper() != "PASSIVE":
        remedy = "unset OMP_WAIT_POLICY: threads that spin slow each other down when cores are few"
        yield Finding("OpenMP", Level.WARNING, text, remedy)
    else:
        yield Finding("OpenMP", Level.OK, text)


def _read(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:,.1f} GiB"
