"""Run folders, read for a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..console import message
from ..errors import InputError
from ..shards.storage import absolute
from ..train.config import RunConfig
from ..train.fields import damage_named, field
from ..train.results import EvaluationResult, read_evaluation
from ..train.run_folder import SUMMARY, RunFolder
from ..train.run_records import METRICS
from ..train.tasks import task_of

RUN_FILE = "run.json"


@dataclass(frozen=True)
class RunFacts:
    """Fields of `run.json`.

    Attributes:
        processes: that trained, one a device.
        backbone_sha256: of the frozen tensors.
    """

    shards: str
    trainable_parameters: int
    total_parameters: int
    processes: int
    machine: str
    versions: dict[str, str]
    git_revision: str | None
    backbone_kind: str
    backbone_sha256: str

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> RunFacts:
        """Read the content of `run.json`. Raises ValueError naming the field that is missing or damaged."""
        backbone = field(content, "backbone", dict[str, Any])
        return cls(
            shards=field(content, "shards", str),
            trainable_parameters=field(content, "trainable_parameters", int),
            total_parameters=field(content, "total_parameters", int),
            processes=field(content, "processes", int),
            machine=field(content, "machine", str),
            versions=field(content, "versions", dict[str, str]),
            git_revision=field(content, "git_revision", str | None),
            backbone_kind=field(backbone, "kind", str),
            backbone_sha256=field(backbone, "sha256", str),
        )


@dataclass(frozen=True)
class TrainingCost:
    """Fields of `summary.json`: time, memory and speed of a finished training."""

    seconds: float
    peak_memory_bytes: int
    items_per_second: float

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> TrainingCost:
        """Read the content of `summary.json`. Raises ValueError naming the field at fault."""
        return cls(
            seconds=field(content, "seconds", float),
            peak_memory_bytes=field(content, "peak_memory_bytes", int),
            items_per_second=field(content, "items_per_second", float),
        )


@dataclass(frozen=True)
class Epoch:
    """One line of `metrics.jsonl`: an epoch, counted from 1, and its loss and scores by name.

    A value that is not finite, such as the score of an empty split, is None.
    """

    number: int
    values: dict[str, float | None]


@dataclass(frozen=True)
class RunAccount:
    """A run as a page shows it.

    Attributes:
        name: the run folder's name, with its parent's where two of the page's runs have the same.
        collection: of its training clips, e.g. `ave` or `folder`.
        training_score: the name of the training score in `epochs`; None when it is another measure than the
            score of a split.
        epochs: the lines of `metrics.jsonl`.
        cost: of the training; None while it is not finished.
        result: the evaluation on the page's split.
    """

    name: str
    folder: RunFolder
    config: RunConfig
    collection: str
    facts: RunFacts
    training_score: str | None
    epochs: list[Epoch]
    cost: TrainingCost | None
    result: EvaluationResult

    @property
    def config_text(self) -> str:
        """The resolved configuration, as the text of `config.yaml`."""
        return self.folder.config_text()

    @property
    def selected_on(self) -> str:
        """The split that chose the epoch."""
        return self.config.train.select_on

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose checkpoint is scored, counted from 1; None when no epoch has a score."""
        name = f"{self.selected_on}_{self.result.score_name}"
        scores = [(value, epoch.number) for epoch in self.epochs if (value := epoch.values[name]) is not None]
        return max(scores, key=lambda score: score[0])[1] if scores else None


def read_runs(paths: Sequence[Path], split: str) -> list[RunAccount]:
    """Read the runs at `paths`, all for one task and evaluated on `split`.

    Raises InputError naming the folder that is no run, was not evaluated on `split`, is for another task or
    has another score, or the file and the field that are damaged.
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
        if run.result.score_name != runs[0].result.score_name:
            raise InputError(
                f"RUN {run.folder.path} has the score {run.result.score_name}, {runs[0].folder.path} "
                f"{runs[0].result.score_name}; a page shows runs with one score"
            )
    return runs


def _read(path: Path, name: str, split: str) -> RunAccount:
    folder = RunFolder.open(path)
    evaluation = f"evaluation-{split}.json"
    result = read_evaluation(folder, evaluation) or _of_grown_shards(folder, split)
    if result is None:
        there = (path / evaluation).is_file()
        what = f"'s {evaluation} is of an earlier checkpoint" if there else f" has no {evaluation}"
        raise InputError(f"RUN {path}{what}; make it with `stgcma evaluate {path} --split {split}`")
    config = folder.read_config()
    if result.task != config.task:
        raise InputError(f"{path / evaluation} is of {result.task}, the run is for {config.task}")
    scores = [f"{config.train.select_on}_{result.score_name}"]
    data = folder.read_dataset()
    training = None
    if task_of(data).training_score_name == result.score_name:
        training = f"train_{result.score_name}"
        scores.append(training)
    with damage_named(path / RUN_FILE):
        facts = RunFacts.from_json(folder.read_json(RUN_FILE))
    with damage_named(path / SUMMARY):
        cost = TrainingCost.from_json(folder.read_json(SUMMARY)) if (path / SUMMARY).is_file() else None
    return RunAccount(
        name=name,
        folder=folder,
        config=config,
        collection=data.name,
        facts=facts,
        training_score=training,
        epochs=_read_epochs(folder, ("loss", *scores)),
        cost=cost,
        result=result,
    )


def _of_grown_shards(folder: RunFolder, split: str) -> EvaluationResult | None:
    """Return the evaluation on the run's shards after clips were added to them; None without one.

    Of several, the one of most clips.
    """
    shards = folder.read_json(RUN_FILE, texts=("shards",))["shards"]
    files = sorted(path.name for path in folder.path.glob(f"evaluation-{split}-*.json"))
    found = [each for each in (read_evaluation(folder, name) for name in files) if each is not None]
    grown = [each for each in found if absolute(each.shards) == shards]
    if not grown:
        return None
    message(f"{folder.path} was scored on its shards after they had grown; that score is shown")
    return max(grown, key=lambda each: each.clips)


def _read_epochs(folder: RunFolder, names: Sequence[str]) -> list[Epoch]:
    """Read the values `names` of every epoch. Raises InputError naming the line and the field at fault."""
    epochs = []
    for number, row in enumerate(folder.records.read(METRICS), 1):
        with damage_named(f"{folder.path / METRICS}:{number}"):
            epoch = field(row, "epoch", int)
            epochs.append(Epoch(epoch, {name: field(row, name, float | None) for name in names}))
    return epochs


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the folders' names, with their parents' names where two are equal."""
    resolved = [path.resolve() for path in paths]
    counts = Counter(path.name for path in resolved)
    return [path.name if counts[path.name] == 1 else f"{path.parent.name}/{path.name}" for path in resolved]
