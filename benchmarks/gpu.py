"""Checks and measures stgcma on a GPU: one command, a JSON file a part, written as it goes.

    python benchmarks/gpu.py --device cuda|cpu [--tiny] [--only PART …] [--preset NAME …] [--rows TEXT …]
        --out DIR
    python benchmarks/gpu.py --publish DIR        # the figures in DIR into docs/benchmarks.*

Parts, by worth: right, step, whole, evaluation, sturdy, where. Each runs in a process of its own with a time
limit, together at most eight minutes; what is cut off or fails keeps its rows and says why. gpu.md says what
a machine needs.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Seconds that each part may take; with a GPU. They add up to eight minutes.
LIMITS = {"right": 50, "step": 150, "whole": 115, "evaluation": 45, "sturdy": 80, "where": 40}
# A part begins nothing new for this long before its limit.
MARGIN_SECONDS = 6
PACKAGES = ("torch", "torchaudio", "torchvision", "timm", "pyarrow", "safetensors")


def main() -> None:
    """Runs the parts, or publishes their results."""
    options = _options()
    if options.publish is not None:
        from gpu_publish import publish

        publish(options.publish, ROOT / "docs")
        return
    if options.child is not None:
        _child(options)
        return
    sys.exit(_parent(options))


def _options() -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--device", choices=("cuda", "cpu"), help="where the models run")
    parser.add_argument("--tiny", action="store_true", help="models of one block: a dry run of every part")
    parser.add_argument("--only", nargs="+", choices=LIMITS, metavar="PART", help=", ".join(LIMITS))
    parser.add_argument("--preset", nargs="+", default=[], metavar="NAME", help="step: only these presets")
    parser.add_argument(
        "--rows", nargs="+", default=[], metavar="TEXT", help="only rows with these in the name"
    )
    parser.add_argument("--out", type=Path, help="the folder of the result files")
    parser.add_argument("--publish", type=Path, metavar="DIR", help="put the results in DIR into docs/")
    parser.add_argument("--seconds", type=float, help="another time limit, for each part")
    parser.add_argument("--child", choices=LIMITS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish is None and (options.device is None or options.out is None):
        parser.error("--device and --out are needed, for example: --device cpu --tiny --out build/gpu")
    if options.publish is not None and not (options.publish / "machine.json").is_file():
        parser.error(f"--publish {options.publish}: no machine.json there, it holds no results")
    return options


def _parent(options: argparse.Namespace) -> int:
    out: Path = options.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        # The package's name is stgcma, whatever the folder of this copy is called.
        (Path(scratch) / "stgcma").symlink_to(ROOT)
        paths = [scratch, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "TMPDIR": scratch,
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # what deterministic mode asks for
            "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # asking for a GPU must not start CUDA before a fork
        }
        if options.device == "cpu":
            environment["CUDA_VISIBLE_DEVICES"] = ""  # training takes a GPU wherever there is one
            environment.setdefault("OMP_NUM_THREADS", "1")  # tiny tensors: threads cost more than they bring
        (out / "machine.json").write_text(json.dumps(_machine(options), indent=1) + "\n")
        started = time.monotonic()
        told = {part: _run(part, options, out, environment) for part in options.only or LIMITS}
    print(f"{time.monotonic() - started:.0f} s in all; the results are in {out}")
    for part, why in told.items():
        if why:
            print(f"{part}: {why}")
    return int(any(told.values()))


def _run(part: str, options: argparse.Namespace, out: Path, environment: dict[str, str]) -> str:
    """Runs a part. Returns why it is not whole, or nothing."""
    limit = options.seconds or LIMITS[part]
    print(f"{part} (at most {limit:.0f} s)", flush=True)
    command = [sys.executable, str(Path(__file__).resolve()), "--child", part, "--device", options.device]
    command += ["--out", str(out), "--seconds", str(max(limit - MARGIN_SECONDS, 1))]
    command += ["--tiny"] if options.tiny else []
    command += ["--preset", *options.preset] if options.preset else []
    command += ["--rows", *options.rows] if options.rows else []
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        _, complaints = process.communicate(timeout=limit)
        why = "" if process.returncode == 0 else f"ended with {process.returncode}: {complaints[-3000:]}"
    except subprocess.TimeoutExpired:
        why = f"cut off after {limit:.0f} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return _close(out / f"{part}.json", part, why)


def _close(file: Path, part: str, why: str) -> str:
    """Notes in a part's file why it is not whole. Returns that, or which rows failed."""
    content: dict[str, Any] = {"part": part, "rows": []}
    if file.is_file():
        content = json.loads(file.read_text())
    if why:
        content |= {"status": "failed", "why": why}
        file.write_text(json.dumps(content, indent=1) + "\n")
        return why.splitlines()[-1] if why.splitlines() else why
    wrong = [row["name"] for row in content["rows"] if row.get("ok") is False]
    return f"not right: {', '.join(wrong)}" if wrong else ""


def _child(options: argparse.Namespace) -> None:
    from gpu_parts.common import Report, Setting

    setting = Setting(
        options.device,
        options.tiny,
        options.seconds,
        options.out,
        presets=tuple(options.preset),
        rows=tuple(options.rows),
    )
    report = Report(options.child, setting)
    importlib.import_module(f"gpu_parts.{options.child}").run(setting, report)
    report.finish()


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": options.device,
        "tiny": options.tiny,
        "card": _card() if options.device == "cuda" else None,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _card() -> dict[str, str] | None:
    """Name, driver and memory of the first GPU, as its driver tells them; None without one."""
    fields = ("name", "driver_version", "memory.total")
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader", "--id=0"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        return {"unknown": str(error)}
    return dict(zip(fields, told.split(", "), strict=False))


if __name__ == "__main__":
    main()
