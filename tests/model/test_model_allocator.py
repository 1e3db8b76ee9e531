"""Freed memory goes back to the system, unless the user has tuned the allocator."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import runpy, sys
compact_heap = runpy.run_path(sys.argv[1])["compact_heap"]  # the module alone: torch takes seconds

def resident():
    return int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0]) * 1024

print(compact_heap())
kept, before = [], resident()
for _ in range(30):
    transients = [b"x" * 8_000_000 for _ in range(4)]
    kept.append(b"x" * 1_200_000)
    del transients
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's process status")
@pytest.mark.parametrize(("environment", "expected"), [({}, "True"), ({"MALLOC_ARENA_MAX": "4"}, "False")])
def test_holes_go_back(environment, expected):
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    module = Path(__file__).parents[2] / "model" / "allocator.py"
    command = [sys.executable, "-c", SCRIPT, module]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True)
    was_set, growth_bytes = done.stdout.split()
    assert was_set == expected
    if was_set == "True":
        assert int(growth_bytes) < 50 * 2**20  # 36 MB are kept, 32 MB were transient at a time
