"""All stages one after the other: raw videos to a score and a page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from .console import message
from .cores import usable_cores
from .errors import InputError, OtherSettingsError
from .pages.drawn_clips import draw_clips
from .pages.report import write_report
from .preprocess import COLLECTIONS, DEMOS, Options, Outcome, preprocess, synthesize
from .preprocess.collections.specification import FBANK_KINDS
from .shards.storage import Location
from .train.config import RunConfig, architecture, load_preset
from .train.evaluation import evaluate
from .train.results import EvaluationResult, read_evaluation
from .train.run import train
from .train.run_folder import RunFolder
from .train.tasks import TASKS
from .train.trainer import TrainSummary

DEMO_SEED = 0


@dataclass(frozen=True)
class ChainResult:
    """Results of a chain: preprocessing, training, the test result, and the page that shows it."""

    outcome: Outcome
    summary: TrainSummary
    result: EvaluationResult
    page: Path


@dataclass(frozen=True)
class DemoRun:
    """One trained model of the demo: its modality, training summary and test result."""

    modality: str
    summary: TrainSummary
    result: EvaluationResult


@dataclass(frozen=True)
class DemoResult:
    """The result of `demo`.

    Attributes:
        raw: folder of the raw collection.
        runs: the one with both modalities first.
        page: the report on all runs.
        question: an example for `stgcma predict --question`; empty for tasks without questions.
    """

    raw: Path
    runs: list[DemoRun]
    page: Path
    question: str


def collection_of(name: str) -> str:
    """Return the collection `name`, or the one that the task `name` stands for.

    Raises InputError listing the known names.
    """
    if name in COLLECTIONS:
        return name
    if name in TASKS:
        return TASKS[name].collection
    known = dict.fromkeys([*TASKS, *COLLECTIONS])
    raise InputError(f"TASK is {name!r}, must be one of {', '.join(known)}")


def run(
    task: str,
    raw: Location,
    workdir: Path,
    config: RunConfig,
    options: Options | None = None,
    *,
    init_from: str | Path | None = None,
) -> ChainResult:
    """Preprocess `raw`, train, score on the test split and write the page, all in `workdir`.

    A stage that is complete with the same settings is skipped, one that was interrupted is resumed, and one
    that was run with other settings is repeated, with all stages after it.

    Args:
        task: a collection's name, or a task's name for the collection that it stands for.
        raw: folder or URL of the collection.
        workdir: folder of the shards and the run.
        config: of the training.
        options: of the preprocessing; the fbanks of the backbone when not given.
        init_from: a run or checkpoint folder to start the training from.

    Raises InputError for an unknown collection or a preset for another task; and as the stages do.
    """
    collection = collection_of(task)
    entry = COLLECTIONS[collection]
    if config.task not in entry.tasks:
        raise InputError(f"preset {config.preset} is for {config.task}, TASK is {task}")
    options = options or Options(features=features_of(config))
    if entry.other_tasks:
        options = replace(options, collection={"task": config.task, **options.collection})
    shards, folder = workdir / "shards", workdir / "run"
    outcome = _preprocess(collection, raw, shards, options)
    summary = _train(shards, folder, config, init_from)
    page = RunFolder(folder).report
    result, is_new = _score(folder)
    if is_new or not page.is_file():
        page = write_report([folder])
    return ChainResult(outcome, summary, result, page)


def features_of(config: RunConfig) -> tuple[str, ...]:
    """Return the fbank kinds that a run's backbone needs."""
    from .model import preset_config

    member = preset_config(config.preset, **architecture(config)).backbone.fbank
    if member not in FBANK_KINDS:
        raise InputError(f"preset {config.preset} takes {member}, preprocess makes {', '.join(FBANK_KINDS)}")
    return (member,)


def _preprocess(collection: str, raw: Location, shards: Path, options: Options) -> Outcome:
    message(f"frames and log-mel features → {shards}")
    try:
        return preprocess(collection, raw, shards, options)
    except OtherSettingsError as error:
        message(f"preprocessing again: {error}")
        return preprocess(collection, raw, shards, replace(options, overwrite=True))


def _train(
    shards: Path, folder: Path, config: RunConfig, init_from: str | Path | None = None
) -> TrainSummary:
    message(f"training → {folder}")
    try:
        return train(shards, folder, config, resume=True, init_from=init_from, draw=draw_clips)
    except OtherSettingsError as error:
        message(f"training again: {error}")
        return train(shards, folder, config, overwrite=True, init_from=init_from, draw=draw_clips)


def _score(folder: Path) -> tuple[EvaluationResult, bool]:
    """Return the test result of the run in `folder`, and whether it was computed just now."""
    stored = read_evaluation(RunFolder.open(folder), "evaluation-test.json")
    if stored is None:
        return evaluate(folder), True
    message(f"{folder} is already scored")
    return stored, False


def demo(
    workdir: Path,
    *,
    task: str = "ave",
    clips: int | None = None,
    seed: int = DEMO_SEED,
    compare: bool = False,
) -> DemoResult:
    """Synthesise a collection, preprocess it, train, score on its test split and write the page.

    With `compare`, models without one modality or without the exchange between both are trained as well.
    Stages that `workdir` already holds with the same settings are skipped.

    Args:
        workdir: folder of all files.
        task: a synthetic collection's name, or a task's name for the collection that it stands for.
        clips: number of clips; by default as many as the collection's demo needs.
        seed: of the synthesis.
        compare: see above.

    Raises InputError for a name without a demo; and as the stages do.
    """
    collection = collection_of(task)
    settings = DEMOS[collection]
    workers = usable_cores()
    clips = clips or settings.clips
    # Either name of a task's own collection finds the same files.
    short = next((name for name, one in TASKS.items() if one.collection == collection), collection)
    name = f"{short}-{clips}-{seed}"
    raw, shards = workdir / f"raw-{name}", workdir / f"shards-{name}"
    config = load_preset(settings.preset)
    if not raw.exists():
        message(f"{clips} encoded clips with known answers → {raw}")
        synthesize(collection, raw, clips=clips, seed=seed, workers=workers)
    _preprocess(collection, raw, shards, Options(features=features_of(config), workers=workers))
    runs, folders = [], []
    for modality in ("av", *(settings.compared_with if compare else ())):
        folder = workdir / f"run-{short}-{modality}"
        summary = _train(shards, folder, load_preset(settings.preset, modality=modality))
        runs.append(DemoRun(modality, summary, _score(folder)[0]))
        folders.append(folder)
    return DemoResult(raw, runs, write_report(folders), settings.question)
