"""Several trainings: of one configuration with other seeds, or of several configurations."""

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
from .run_folder import RunFolder
from .tracking import DrawClips


@dataclass(frozen=True)
class ScoredRun:
    """One of several runs, with its score on the split that all are scored on.

    Attributes:
        run: its folder, relative to that of all runs.
        score_name: of the task's score.
        score: a share.
        selected_on: the split that its epoch was selected on.
        trainable_parameters: number of trained values.
        seconds: of the training, in all.
        step_seconds: mean time of a training step, scoring not counted.
        peak_memory_bytes: of the GPU, else resident.
        checkpoint_bytes: size of the best checkpoint.
    """

    run: str
    score_name: str
    score: float
    selected_on: str
    trainable_parameters: int
    seconds: float
    step_seconds: float
    peak_memory_bytes: int
    checkpoint_bytes: int


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
    draw: DrawClips | None = None,
) -> ScoredSeeds:
    """Train with `seeds` seeds, from the configuration's own on, each in `PATH/seed-N`, and score each run.

    The result is also written to `PATH/seeds.json`. `init_from` and `draw` as of `train`, which raises the
    errors.
    """
    configs = seeded(config, seeds)
    rows = train_each(
        shards,
        path,
        configs,
        overwrite=overwrite,
        resume=resume,
        split=split,
        init_from=init_from,
        draw=draw,
    )
    scores = [row.score for row in rows]
    result = ScoredSeeds(
        split,
        rows[0].score_name,
        rows,
        mean=statistics.fmean(scores),
        std=statistics.stdev(scores) if len(scores) > 1 else None,
    )
    write_runs(path / "seeds.json", result)
    return result


def seeded(config: RunConfig, seeds: int) -> dict[str, RunConfig]:
    """Return `config` with `seeds` seeds, from its own on, by the name `seed-N`."""
    first = config.train.seed
    return {f"seed-{seed}": replaced(config, "train", seed=seed) for seed in range(first, first + seeds)}


def train_each(
    shards: Location,
    path: Path,
    configs: dict[str, RunConfig],
    *,
    overwrite: bool,
    resume: bool,
    split: str,
    init_from: str | Path | None = None,
    draw: DrawClips | None = None,
) -> list[ScoredRun]:
    """Train each configuration in the folder of its name in `path`, and score it. Raises as `train`."""
    if path.is_file() or (path / "config.yaml").is_file():
        raise InputError(f"RUN {path} must be a folder for {len(configs)} runs, it holds something else")
    rows = []
    for name, config in configs.items():
        run = path / name
        if is_main_process():
            message(f"{name} → {run}")
        summary = train(
            shards, run, config, overwrite=overwrite, resume=resume, init_from=init_from, draw=draw
        )
        result = evaluate(run, split=split)
        rows.append(
            ScoredRun(
                run=name,
                score_name=result.score_name,
                score=result.score,
                selected_on=config.train.select_on,
                trainable_parameters=summary.trainable_parameters,
                seconds=summary.seconds,
                step_seconds=config.optim.batch_size / summary.items_per_second,
                peak_memory_bytes=summary.peak_memory_bytes,
                checkpoint_bytes=_size(RunFolder(run).best),
            )
        )
    return rows


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def write_runs(path: Path, result: ScoredRuns) -> None:
    """Write `result` as JSON; of several processes, the main one does."""
    if is_main_process():
        publish(path, (strict_json(result.to_json(), indent=2) + "\n").encode())
