"""Several trainings of one configuration: with other seeds, or with steps of the model left out."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..console import message
from ..errors import InputError
from ..shards.files import publish
from ..shards.storage import Location
from ..strict_json import strict_json
from .config import RunConfig, replaced
from .distributed import is_main_process
from .evaluation import evaluate
from .run import train

# The steps that the model has in each row of the paper's ablation. Without any, only the head learns.
ABLATION = {
    "frozen": {"temporal": False, "spatial": False, "global_": False},
    "+temporal": {"temporal": True, "spatial": False, "global_": False},
    "+temporal+spatial": {"temporal": True, "spatial": True, "global_": False},
    "+temporal+global": {"temporal": True, "spatial": False, "global_": True},
    "all": {"temporal": True, "spatial": True, "global_": True},
}


@dataclass(frozen=True)
class ScoredRun:
    """One of several runs, with its score on the split that all are scored on."""

    run: str
    score_name: str
    score: float
    selected_on: str
    trainable_parameters: int
    seconds: float


@dataclass(frozen=True)
class ScoredRuns:
    """Several runs of one configuration, scored on `split`."""

    split: str
    score_name: str
    runs: list[ScoredRun]

    def to_json(self) -> dict[str, Any]:
        """Return the content of `ablation.json`."""
        return asdict(self)


@dataclass(frozen=True)
class ScoredSeeds(ScoredRuns):
    """Runs with other seeds.

    Attributes:
        mean: of the scores.
        std: sample standard deviation; None for a single run.
    """

    mean: float
    std: float | None


def repeat(
    shards: Location,
    path: Path,
    config: RunConfig,
    *,
    seeds: int,
    overwrite: bool = False,
    resume: bool = False,
    split: str = "test",
    init_from: str | Path | None = None,
) -> ScoredSeeds:
    """Train with `seeds` seeds, from the configuration's own on, each in `PATH/seed-N`, and score each run.

    The result is also written to `PATH/seeds.json`. `init_from` as of `train`, which raises the errors.
    """
    first = config.train.seed
    configs = {f"seed-{seed}": replaced(config, "train", seed=seed) for seed in range(first, first + seeds)}
    rows = _train_each(
        shards, path, configs, overwrite=overwrite, resume=resume, split=split, init_from=init_from
    )
    scores = [row.score for row in rows]
    result = ScoredSeeds(
        split,
        rows[0].score_name,
        rows,
        mean=statistics.fmean(scores),
        std=statistics.stdev(scores) if len(scores) > 1 else None,
    )
    _write(path / "seeds.json", result)
    return result


def ablate(
    shards: Location,
    path: Path,
    config: RunConfig,
    *,
    overwrite: bool = False,
    resume: bool = False,
    split: str = "test",
) -> ScoredRuns:
    """Train the paper's five variants, each in its own folder in `path`, and score each run.

    The result is also written to `PATH/ablation.json`. Raises as `train`.
    """
    configs = {name: replaced(config, "model", **steps) for name, steps in ABLATION.items()}
    rows = _train_each(shards, path, configs, overwrite=overwrite, resume=resume, split=split)
    result = ScoredRuns(split, rows[0].score_name, rows)
    _write(path / "ablation.json", result)
    return result


def _train_each(
    shards: Location,
    path: Path,
    configs: dict[str, RunConfig],
    *,
    overwrite: bool,
    resume: bool,
    split: str,
    init_from: str | Path | None = None,
) -> list[ScoredRun]:
    if path.is_file() or (path / "config.yaml").is_file():
        raise InputError(f"RUN {path} must be a folder for {len(configs)} runs, it holds something else")
    rows = []
    for name, config in configs.items():
        run = path / name
        if is_main_process():
            message(f"{name} → {run}")
        summary = train(shards, run, config, overwrite=overwrite, resume=resume, init_from=init_from)
        result = evaluate(run, split=split)
        rows.append(
            ScoredRun(
                run=name,
                score_name=result.score_name,
                score=result.score,
                selected_on=config.train.select_on,
                trainable_parameters=summary.trainable_parameters,
                seconds=summary.seconds,
            )
        )
    return rows


def _write(path: Path, result: ScoredRuns) -> None:
    if is_main_process():
        publish(path, (strict_json(result.to_json(), indent=2) + "\n").encode())
