"""The same training several times: with other seeds, or with parts of the model left out."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from ..console import message
from ..errors import InputError
from ..shards.files import publish
from ..shards.storage import Location
from ..strict_json import strict_json
from .config import RunConfig, replaced
from .distributed import leads
from .evaluation import evaluate
from .loop import train

# The paper's ablation: which steps a row has. Without any, only the head learns.
ABLATION = {
    "frozen": {"temporal": False, "spatial": False, "global_": False},
    "+temporal": {"temporal": True, "spatial": False, "global_": False},
    "+temporal+spatial": {"temporal": True, "spatial": True, "global_": False},
    "+temporal+global": {"temporal": True, "spatial": False, "global_": True},
    "all": {"temporal": True, "spatial": True, "global_": True},
}


def repeat(
    shards: Location,
    path: Path,
    config: RunConfig,
    *,
    seeds: int,
    overwrite: bool = False,
    resume: bool = False,
    split: str = "test",
) -> dict[str, Any]:
    """Trains with `seeds` seeds from the configuration's own on, each in `PATH/seed-N`, and scores them.

    Returns, and keeps as `PATH/seeds.json`, every score on `split`, their mean and their standard deviation
    (of the sample). Raises as `train`.
    """
    first = config.train.seed
    configs = {f"seed-{seed}": replaced(config, "train", seed=seed) for seed in range(first, first + seeds)}
    rows = _train_each(shards, path, configs, overwrite=overwrite, resume=resume, split=split)
    scores = [row["score"] for row in rows]
    result = {
        "split": split,
        "score_name": rows[0]["score_name"],
        "runs": rows,
        "mean": statistics.fmean(scores),
        "std": statistics.stdev(scores) if len(scores) > 1 else None,
    }
    _keep(path / "seeds.json", result)
    return result


def ablate(
    shards: Location,
    path: Path,
    config: RunConfig,
    *,
    overwrite: bool = False,
    resume: bool = False,
    split: str = "test",
) -> dict[str, Any]:
    """Trains the paper's five variants, each in a folder of its own in `path`, and scores them.

    Returns, and keeps as `PATH/ablation.json`, a row per variant. Raises as `train`.
    """
    configs = {name: replaced(config, "model", **steps) for name, steps in ABLATION.items()}
    rows = _train_each(shards, path, configs, overwrite=overwrite, resume=resume, split=split)
    result = {"split": split, "score_name": rows[0]["score_name"], "runs": rows}
    _keep(path / "ablation.json", result)
    return result


def _train_each(
    shards: Location,
    path: Path,
    configs: dict[str, RunConfig],
    *,
    overwrite: bool,
    resume: bool,
    split: str,
) -> list[dict[str, Any]]:
    if path.is_file() or (path / "config.yaml").is_file():
        raise InputError(f"RUN {path} must be a folder for {len(configs)} runs, it holds something else")
    rows = []
    for name, config in configs.items():
        run = path / name
        if leads():
            message(f"{name} → {run}")
        summary = train(shards, run, config, overwrite=overwrite, resume=resume)
        result = evaluate(run, split=split)
        rows.append(
            {
                "run": name,
                "score_name": result["score_name"],
                "score": result["score"],
                "selected_on": config.train.select_on,
                "trainable_parameters": summary.trainable_parameters,
                "seconds": summary.seconds,
            }
        )
    return rows


def _keep(path: Path, result: dict[str, Any]) -> None:
    if leads():
        publish(path, (strict_json(result, indent=2) + "\n").encode())
