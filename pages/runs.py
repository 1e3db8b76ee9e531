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

SCORE_NAMES = ("accuracy", "miou")


@dataclass(frozen=True)
class RunAccount:
    """A run as a page shows it.

    Attributes:
        name: the run folder's, told apart from those of the page's other runs.
        collection: of its training clips, e.g. `ave` or `folder`.
        about: `run.json`.
        epochs: the lines of `metrics.jsonl`.
        summary: what the training came to; None while it is not finished.
        result: the evaluation on the page's split.
    """

    name: str
    folder: RunFolder
    config: RunConfig
    collection: str
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
        name = f"{self.selected_on}_{self.result['score_name']}"
        scores = [(row["epoch"], row[name]) for row in self.epochs if row[name] is not None]
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
    config = folder.read_config()
    if fault := _result_fault(result):
        raise InputError(f"{path / evaluation} {fault}; it is damaged, or not of this version")
    parts = ("train", config.train.select_on)
    needed = ("epoch", "loss", *(f"{part}_{result['score_name']}" for part in parts))
    epochs = folder.read_rows(METRICS)
    for number, row in enumerate(epochs, 1):
        # null is a number that JSON cannot hold: of nothing, or infinite.
        if missing := [field for field in needed if not isinstance(row.get(field, ""), int | float | None)]:
            raise InputError(f"{path / METRICS}:{number} has no number as its {missing[0]}")
    return RunAccount(
        name=name,
        folder=folder,
        config=config,
        collection=folder.read_dataset().name,
        about=folder.read_json("run.json", texts=("shards",)),
        epochs=epochs,
        summary=folder.read_json(SUMMARY) if (path / SUMMARY).is_file() else None,
        result=result,
    )


def _result_fault(result: dict[str, Any]) -> str | None:
    for field in ("score_name", "shards", "data_fingerprint"):
        if not isinstance(result.get(field), str):
            return f"has no text as its {field}"
    if result["score_name"] not in SCORE_NAMES:
        return f"has the score {result['score_name']!r}, expected {' or '.join(SCORE_NAMES)}"
    baselines = result.get("baselines")
    if not isinstance(baselines, dict) or not all(
        isinstance(each, int | float) for each in baselines.values()
    ):
        return "has no numbers as its baselines"
    return None


def _names(paths: Sequence[Path]) -> list[str]:
    """The folders' own names, with their parents' where two are equal."""
    resolved = [path.resolve() for path in paths]
    counts = Counter(path.name for path in resolved)
    return [path.name if counts[path.name] == 1 else f"{path.parent.name}/{path.name}" for path in resolved]
