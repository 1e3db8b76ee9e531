"""Measures what is promised, beside its baselines, and writes docs/benchmarks.md and docs/benchmarks.json.

    python benchmarks/run.py [--quick] [--out FOLDER] [NAME …]

With names, only those are measured, and the others' figures stay as the JSON has them, with their machine,
versions and day: a figure and its baseline are always of one run. A quick run is for trying: few clips and
rounds, small models; it goes to build/benchmarks, and does not mix with whole ones.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch
from measurement import MeasurementError
from page import compared, page
from stgcma.versions import package_versions

ROOT = Path(__file__).resolve().parent.parent
NAMES = (
    "preprocess",
    "planning",
    "million",
    "loading",
    "streaming",
    "scale",
    "training_step",
    "forward",
    "small",
    "growth",
)
PACKAGES = ("torch", "torchaudio", "torchvision", "timm", "av", "pyarrow", "webdataset")


def main() -> None:
    """Measures, prints, writes."""
    options = _options()
    # Measured processes keep compiled files, as they do where nothing is set: else each compiles all.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    out = options.out or (ROOT / "build" / "benchmarks" if options.quick else ROOT / "docs")
    (out / "images").mkdir(parents=True, exist_ok=True)
    file = out / "benchmarks.json"
    content: dict[str, Any] = {"quick": options.quick, "figures": {}, "curves": [], "measured": {}}
    if file.is_file():
        before = json.loads(file.read_text())
        if before["quick"] != options.quick:
            sys.exit(f"{file} is of another kind of run; choose another --out")
        content = before
    machine = _machine()
    failed = []
    for name in options.names or NAMES:
        started = time.monotonic()
        try:
            with tempfile.TemporaryDirectory() as scratch:
                _measure(name, Path(scratch), out, content, quick=options.quick)
        except MeasurementError as error:
            print(f"{name}: FAILED: {error}", flush=True)
            failed.append(name)
            continue
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
        content["measured"][name] = {"date": date.today().isoformat(), "machine": machine}
        for part in ("figures", "measured"):
            content[part] = {each: content[part][each] for each in NAMES if each in content[part]}
        file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        (out / "benchmarks.md").write_text(page(content))
    print(out / "benchmarks.md")
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


def _options() -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="few clips and rounds, small models")
    parser.add_argument("--out", type=Path, help="where the page, its pictures and the JSON go")
    options = parser.parse_args()
    if unknown := sorted({*options.names} - {*NAMES}):
        parser.error(f"{', '.join(unknown)}: not known, choose from {', '.join(NAMES)}")
    return options


def _measure(name: str, scratch: Path, out: Path, content: dict[str, Any], *, quick: bool) -> None:
    measured = importlib.import_module(name)
    if name == "growth":
        curves = measured.curves(scratch, quick=quick)
        for curve in curves:
            measured.draw(curve, out / "images" / f"growth-{curve.name}.svg")
        content["curves"] = [vars(curve) for curve in curves]
        return
    figures = [figure.to_json() for figure in measured.figures(scratch, quick=quick)]
    content["figures"][name] = figures
    for figure in figures:
        met = {True: "met", False: "MISSED", None: ""}[figure["met"]]
        print(f"  {figure['name']}, against {figure['baseline']}: {compared(figure)} {met}", flush=True)


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": package_versions(*PACKAGES),
    }


if __name__ == "__main__":
    main()
