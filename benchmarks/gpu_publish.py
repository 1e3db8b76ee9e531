"""Results of the GPU suite into the published figures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gpu_page import PARTS
from page import page


def publish(results: Path, docs: Path) -> None:
    """Put the result files of a run of gpu.py into docs/benchmarks.json and write the page again.

    Ends the program when they are of a dry run, which may not be published.
    """
    machine = json.loads((results / "machine.json").read_text())
    if machine["device"] != "cuda" or machine["tiny"]:
        sys.exit(f"{results} holds a dry run (device {machine['device']}, tiny {machine['tiny']})")
    file = docs / "benchmarks.json"
    content = json.loads(file.read_text())
    parts = {part: results / f"{part}.json" for part in PARTS}
    content["gpu"] = {
        "machine": machine,
        "parts": {part: json.loads(path.read_text()) for part, path in parts.items() if path.is_file()},
    }
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    (docs / "benchmarks.md").write_text(page(content))
