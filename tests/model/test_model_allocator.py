"""What is freed goes back to the system, unless somebody tuned the allocator already."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import torch
from stgcma.model.allocator import compact_heap

def resident():
    return int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0]) * 1024

print(compact_heap())
kept, before = [], resident()
for _ in range(30):
    transients = [torch.zeros(2_000_000) for _ in range(4)]
    kept.append(torch.zeros(300_000))
    del transients
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's process status")
@pytest.mark.parametrize(("environment", "expected"), [({}, "True"), ({"MALLOC_ARENA_MAX": "4"}, "False")])
def test_holes_go_back(environment, expected):
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    path = str(Path(__file__).parents[3])
    env = clean | environment | {"PYTHONPATH": os.pathsep.join([path, clean.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True)
    was_set, growth_bytes = done.stdout.split()
    assert was_set == expected
    if was_set == "True":
        assert int(growth_bytes) < 60 * 2**20  # 34 MB are kept, 32 MB were transient at a time
