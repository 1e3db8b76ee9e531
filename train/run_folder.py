"""A run folder: the configuration that ran, what it measured, the weights that came of it.

RUN/config.yaml          the resolved configuration
RUN/run.json             shards and their fingerprint, versions, parameter counts
RUN/metrics.jsonl        a line an epoch
RUN/checkpoints/best/    the epoch that the selection split prefers; `last/` the newest
RUN/evaluation-SPLIT.json
RUN/report.html
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from ..shards.files import publish
from .config import RunConfig, parse


class RunFolder:
    """Names and reads the files of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.best = path / "checkpoints" / "best"
        self.last = path / "checkpoints" / "last"
        self.report = path / "report.html"

    @classmethod
    def create(cls, path: Path, *, overwrite: bool = False) -> RunFolder:
        """A new run folder. Raises InputError when `path` holds something that is not to be overwritten."""
        if path.exists() and not path.is_dir():
            raise InputError(f"RUN {path} is a file, a folder is needed")
        run = cls(path)
        if path.is_dir() and any(path.iterdir()):
            if not (path / "config.yaml").is_file():
                raise InputError(f"RUN {path} holds other files; choose an empty or new folder")
            if not overwrite:
                raise InputError(f"RUN {path} holds a run already; choose another folder, or --overwrite it")
            for stale in (path / "metrics.jsonl", run.report, *path.glob("evaluation-*.json")):
                stale.unlink(missing_ok=True)
        path.mkdir(parents=True, exist_ok=True)
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run. Raises InputError when `path` is none, or has no trained checkpoint yet."""
        run = cls(path)
        if not (path / "config.yaml").is_file():
            raise InputError(
                f"RUN {path} is not a run folder: it has no config.yaml; make one with `stgcma train`"
            )
        if not run.best.is_dir():
            raise InputError(f"RUN {path} has no checkpoint yet: its training did not finish an epoch")
        return run

    def write_config(self, config: RunConfig) -> None:
        """Writes the resolved configuration."""
        content = config.model_dump(mode="json")
        publish(self.path / "config.yaml", yaml.safe_dump(content, sort_keys=False).encode())

    def read_config(self) -> RunConfig:
        """The resolved configuration."""
        path = self.path / "config.yaml"
        return parse(yaml.safe_load(path.read_text(encoding="utf-8")), where=str(path))

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Writes one of the run's JSON files."""
        publish(self.path / name, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """Reads one of the run's JSON files. Raises InputError when it is missing."""
        path = self.path / name
        if not path.is_file():
            raise InputError(f"{path} is missing")
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Adds a line to `metrics.jsonl`."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`."""
        path = self.path / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
