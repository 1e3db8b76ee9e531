"""The files of a run as they are pushed."""

from __future__ import annotations

from typing import Any

import yaml

from ..bounded import parse_yaml
from ..errors import InputError
from ..model.checkpoint import ADAPTERS, BACKBONE, DESCRIPTION
from ..public_paths import without_paths
from ..shards.schema import DATASET_FILE
from ..strict_json import strict_json
from ..train.results import EvaluationResult, read_evaluation
from ..train.run_folder import SUMMARY, RunFolder
from ..train.run_records import METRICS
from .files import ABOUT, CONFIG
from .pushed_file import PushedFile

# The first of these splits that was scored is the one that the card begins with.
_SPLITS_BY_WEIGHT = ("test", "val", "train")


def evaluations_of(run: RunFolder) -> dict[str, EvaluationResult]:
    """Return the run's scores on its shards by split, test first. Raises InputError when there are none."""
    read = {split: read_evaluation(run, f"evaluation-{split}.json") for split in _SPLITS_BY_WEIGHT}
    found = {split: result for split, result in read.items() if result is not None}
    if not found:
        raise InputError(
            f"RUN {run.path} was not evaluated, and its card needs scores; "
            f"run `stgcma evaluate {run.path} --split test`"
        )
    return found


def run_files(run: RunFolder, *, shards: str = "") -> list[PushedFile]:
    """Return the files of a run that others need to use it, without paths of this machine.

    Left out are the newest checkpoint, the state to resume from, the rows of steps and the curves of
    TensorBoard.

    Args:
        run: a run folder with scores.
        shards: the public address of its shards; empty for none.
    """
    files = [PushedFile(name, run.best / name) for name in (ADAPTERS, DESCRIPTION)]
    backbone = [folder / BACKBONE for folder in (run.best, run.path) if (folder / BACKBONE).is_file()]
    files += [PushedFile(BACKBONE, path) for path in backbone[:1]]
    files.append(PushedFile(CONFIG, _config(run)))
    files.append(PushedFile(DATASET_FILE, run.path / DATASET_FILE))
    scored = evaluations_of(run)
    for name in (ABOUT, SUMMARY, *(f"evaluation-{split}.json" for split in scored)):
        if (run.path / name).is_file():
            files.append(PushedFile(name, _json(run.read_json(name), shards)))
    if (run.path / METRICS).is_file():
        files.append(PushedFile(METRICS, run.path / METRICS))
    return files


def _config(run: RunFolder) -> bytes:
    """Return the configuration; the folder of the shard cache is one of this machine."""
    content = without_paths(parse_yaml(run.config_text(), where=str(run.path / CONFIG)), shards="")
    if isinstance(content.get("data"), dict) and content["data"].get("cache") is not None:
        content["data"]["cache"] = None
    return yaml.safe_dump(content, sort_keys=False).encode()


def _json(content: dict[str, Any], shards: str) -> bytes:
    """Return JSON in the form of a run folder's files."""
    return (strict_json(without_paths(content, shards=shards), indent=2) + "\n").encode()
