"""What a run folder says of its run, read for a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..train.config import RunConfig
from ..train.run_folder import METRICS, SUMMARY, RunFolder


@dataclass(frozen=True)
class RunAccount:
    """A run as a page shows it.

    Attributes:
        name: the run folder's, told apart from those of the page's other runs.
        about: `run.json`.
        epochs: the lines of `metrics.jsonl`.
        summary: what the training came to; None while it is not finished.
        result: the evaluation on the page's split.
    """

    name: str
    folder: RunFolder
    config: RunConfig
    about: dict[str, Any]
    epochs: list[dict[str, Any]]
    summary: dict[str, Any] | None
    result: dict[str, Any]

    @property
    def config_text(self) -> str:
        """The resolved configuration as it lies in the run folder."""
        return self.folder.config_text()

    @property
    def selected_on(self) -> str:
        """The split that chose the epoch."""
        return self.config.train.select_on

    @property
    def best_epoch(self) -> int | None:
        """The epoch that is scored, counted from 1; None when none is noted."""
        scores = [
            (row["epoch"], row[f"{self.selected_on}_{self.result['score_name']}"]) for row in self.epochs
        ]
        return max(scores, key=lambda row: row[1])[0] if scores else None


def read_runs(paths: Sequence[Path], split: str) -> list[RunAccount]:
    """The runs at `paths`, all for one task and evaluated on `split`.

    Raises InputError naming the folder that is no run, or was not evaluated so, or is for another task.
    """
    if not paths:
        raise InputError("RUN is missing: name at least one run folder")
    runs = [_read(path, name, split) for path, name in zip(paths, _names(paths), strict=True)]
    for run in runs[1:]:
        if run.config.task != runs[0].config.task:
            raise InputError(
                f"RUN {run.folder.path} is for {run.config.task}, {runs[0].folder.path} for "
                f"{runs[0].config.task}; a page shows runs for one task"
            )
    return runs


def _read(path: Path, name: str, split: str) -> RunAccount:
    folder = RunFolder.open(path)
    evaluation = f"evaluation-{split}.json"
    result = folder.read_evaluation(evaluation)
    if result is None:
        there = (path / evaluation).is_file()
        what = f"'s {evaluation} is of an earlier checkpoint" if there else f" has no {evaluation}"
        raise InputError(f"RUN {path}{what}; make it with `stgcma evaluate {path} --split {split}`")
    return RunAccount(
        name=name,
        folder=folder,
        config=folder.read_config(),
        about=folder.read_json("run.json"),
        epochs=folder.read_rows(METRICS),
        summary=folder.read_json(SUMMARY) if (path / SUMMARY).is_file() else None,
        result=result,
    )


def _names(paths: Sequence[Path]) -> list[str]:
    """The folders' own names, with their parents' where two are equal."""
    resolved = [path.resolve() for path in paths]
    counts = Counter(path.name for path in resolved)
    return [path.name if counts[path.name] == 1 else f"{path.parent.name}/{path.name}" for path in resolved]
