"""The stages in a row: raw videos to a score and a page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .console import message
from .errors import InputError, OtherSettingsError
from .pages.report import write_report
from .preprocess.collections.specification import FBANK_KINDS
from .preprocess.pipeline.run import Options, Outcome, preprocess
from .preprocess.synthesis import synthesizer
from .shards.storage import Location
from .train.config import RunConfig, architecture, load_preset
from .train.evaluation import evaluate
from .train.loop import TrainSummary, train
from .train.run_folder import RunFolder

# Of AVS, only one frame of a training clip has a mask.
DEMO_CLIPS = {"ave": 160, "avs": 480, "avqa": 160}
DEMO_SEED = 0
# What `run` takes for TASK: the collection whose layout RAW has, and the task that it is made for.
COLLECTIONS = {
    "ave": ("ave", "ave"),
    "avs": ("avs-s4", "avs"),
    "avqa": ("music-avqa", "avqa"),
    "avs-s4": ("avs-s4", "avs"),
    "music-avqa": ("music-avqa", "avqa"),
    "folder": ("folder", "ave"),
}
# What a demo of each task is compared with.
_OTHER_MODALITIES = {"ave": ("video", "audio"), "avs": ("av-nofusion",), "avqa": ("av-nofusion",)}


@dataclass(frozen=True)
class ChainResult:
    """Results of a chain: preprocessing, training, the test result, and the page that shows it."""

    outcome: Outcome
    summary: TrainSummary
    result: dict[str, Any]
    page: Path


@dataclass(frozen=True)
class DemoRun:
    """One trained model of the demo: its training summary and its test result."""

    modality: str
    summary: TrainSummary
    result: dict[str, Any]


@dataclass(frozen=True)
class DemoResult:
    """The collection, the runs, the one with both modalities first, and the page that shows them."""

    raw: Path
    runs: list[DemoRun]
    page: Path


def run(
    task: str, raw: Location, workdir: Path, config: RunConfig, options: Options | None = None
) -> ChainResult:
    """Preprocesses `raw`, trains, scores on the test split and writes the page, all in `workdir`.

    A stage that is done already with the same settings is skipped, one that is half done goes on, and one
    that was done with others is done again, with all that follow from it.

    Raises InputError for an unknown task; and as the stages do.
    """
    if task not in COLLECTIONS:
        raise InputError(f"TASK is {task!r}, must be one of {', '.join(COLLECTIONS)}")
    collection, wanted = COLLECTIONS[task]
    if config.task != wanted:
        raise InputError(f"preset {config.preset} is for {config.task}, TASK is {task}")
    shards, folder = workdir / "shards", workdir / "run"
    outcome = _preprocess(collection, raw, shards, options or Options(features=features_of(config)))
    summary = _train(shards, folder, config)
    page = RunFolder(folder).report
    result, anew = _score(folder)
    if anew or not page.is_file():
        page = write_report([folder])
    return ChainResult(outcome, summary, result, page)


def features_of(config: RunConfig) -> tuple[str, ...]:
    """The fbanks that a run's backbone needs."""
    from .model import preset_config

    member = f"fbank_{preset_config(config.preset, **architecture(config)).audio_shape[1]}"
    if member not in FBANK_KINDS:
        raise InputError(f"preset {config.preset} takes {member}, preprocess makes {', '.join(FBANK_KINDS)}")
    return (member,)


def _preprocess(collection: str, raw: Location, shards: Path, options: Options) -> Outcome:
    import dataclasses

    message(f"frames and log-mel features → {shards}")
    try:
        return preprocess(collection, raw, shards, options)
    except OtherSettingsError as error:
        message(f"making them anew: {error}")
        return preprocess(collection, raw, shards, dataclasses.replace(options, overwrite=True))


def _train(shards: Path, folder: Path, config: RunConfig) -> TrainSummary:
    message(f"training → {folder}")
    try:
        return train(shards, folder, config, resume=True)
    except OtherSettingsError as error:
        message(f"training anew: {error}")
        return train(shards, folder, config, overwrite=True)


def _score(folder: Path) -> tuple[dict[str, Any], bool]:
    """The test result of the run in `folder`, and whether it was not there already."""
    stored = RunFolder.open(folder).read_evaluation("evaluation-test.json")
    if stored is None:
        return evaluate(folder), True
    message(f"{folder} is scored already")
    return stored, False


def demo(
    workdir: Path,
    *,
    task: str = "ave",
    clips: int | None = None,
    seed: int = DEMO_SEED,
    compare: bool = False,
) -> DemoResult:
    """Synthesises a collection, preprocesses it, trains on it, scores on its test split, writes the page.

    With `compare`, the same is trained without one modality or without their exchange. What `workdir` holds
    already with the same settings is used again.
    """
    workers = os.cpu_count() or 1
    clips = clips or DEMO_CLIPS[task]
    name = f"{task}-{clips}-{seed}"
    collection, _ = COLLECTIONS[task]
    raw, shards = workdir / f"raw-{name}", workdir / f"shards-{name}"
    config = load_preset(f"{task}-demo")
    if not raw.exists():
        message(f"{clips} encoded clips with known answers → {raw}")
        synthesizer(collection)(raw, clips=clips, seed=seed, workers=workers)
    _preprocess(collection, raw, shards, Options(features=features_of(config), workers=workers))
    runs, folders = [], []
    for modality in ("av", *(_OTHER_MODALITIES[task] if compare else ())):
        folder = workdir / f"run-{task}-{modality}"
        summary = _train(shards, folder, load_preset(f"{task}-demo", modality=modality))
        runs.append(DemoRun(modality, summary, _score(folder)[0]))
        folders.append(folder)
    return DemoResult(raw, runs, write_report(folders))
