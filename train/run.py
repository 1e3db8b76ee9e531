"""`train`: adapters and head on shards, with the backbone frozen.

Under `torchrun`, every process computes its micro-batches of each step.
"""

from __future__ import annotations

import math
import platform
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import torch

from ..console import message
from ..errors import InputError, OtherSettingsError
from ..model import STGCMA, TrainedOn, build_model
from ..model.frozen_precision import cast_frozen
from ..model.weights import KEPT_KINDS
from ..shards.columns import read_column
from ..shards.schema import DatasetInfo
from ..shards.storage import Location, absolute
from ..versions import git_revision, package_versions
from .automatic import resolve
from .compilation import check_compile
from .config import RunConfig, architecture, check_schedule
from .data import ClipDataset, open_task
from .distributed import ProcessGroup, process_group
from .initial import initial_record, load_initial
from .loading import LOADER_PROCESSES, open_clips, stream_shape
from .memory import clips_at_a_time, memory_explained, training_advice
from .objective import DTYPES, set_tf32
from .order import MicroBatches
from .run_folder import SUMMARY, RunFolder
from .tasks.base import Task
from .tokens import fit_tokens
from .trackers import TRACKERS
from .tracking import DrawClips
from .trained import trained_on
from .trainer import Trainer, TrainSummary, count_parameters
from .unseen import unseen_by_run


def train(
    shards: Location,
    run_path: str | Path,
    config: RunConfig,
    *,
    overwrite: bool = False,
    resume: bool = False,
    init_from: str | Path | None = None,
    draw: DrawClips | None = None,
) -> TrainSummary:
    """Train on `shards` as `config` says, and write everything to the run folder `run_path`.

    Args:
        shards: a shard directory, a path or a URL.
        run_path: a new or empty folder, or one of a run.
        config: as `load_preset` returns it.
        overwrite: replace the run in the folder.
        resume: continue a run that was stopped, with the same result as without the stop; a finished run is
            not changed. A folder without a run starts one.
        init_from: a run or checkpoint folder whose adapters and head to start from; see `load_initial`.
        draw: draws predictions of clips for trackers that show pictures; None for no pictures.

    Raises InputError for shards, settings or a run folder that do not fit; StgcmaError when the loss is not
    finite or memory runs out; KeyboardInterrupt or SystemExit after a signal, with the state saved.
    """
    task, run = open_task(shards), RunFolder(Path(run_path))
    if task.name != config.task:
        raise InputError(f"{shards} is made for {task.name}, preset {config.preset} trains {config.task}")
    with process_group() as group:
        micro_batches = _micro_batches(config, group)
        config = resolve(config, group, recorded=run if resume else None)
        stream = stream_shape(config.data, group)
        if resume:
            group.run_on_main(lambda: _check_resumable(run, config, shards, task.info, stream))
        else:
            group.run_on_main(lambda: run.check_free(overwrite=overwrite))
        initial = initial_record(run, init_from, resume=resume)
        finished = resume and (run.path / SUMMARY).is_file()
        group.check_equal([float(finished)], "different summaries")
        if finished:
            return _read_summary(run, group)
        _check_settings(config, group)
        set_tf32(allowed=config.train.tf32)
        model = _build_model(task, config, group)
        load_initial(model, run, initial, resume=resume)
        _cast_frozen(model, config, group)
        training = open_clips(shards, "train", task, config.data, model.config, seed=config.train.seed)
        selection = open_clips(shards, config.train.select_on, task, config.data, model.config)
        fit_tokens(model, training.tokens, training.normalisation)
        model.trained_on = _trained_on(config, model, training)
        about = _data(shards, training, group, stream, initial) | _environment(model)
        about |= _selections(config, training, selection, group)
        # Only now: a training that cannot begin creates no folder and removes no earlier run.
        group.run_on_main(
            lambda: _write_folder(run, config, training.info, about, resume=resume, overwrite=overwrite)
        )
        with closing(training), closing(selection), _memory_explained(config, model, group):
            trainer = Trainer(
                model,
                task,
                config,
                run,
                training=training,
                selection=selection,
                group=group,
                micro_batches=micro_batches,
                stream_workers=None if stream is None else stream[LOADER_PROCESSES],
                draw=draw,
            )
            return trainer.fit()


def _check_settings(config: RunConfig, group: ProcessGroup) -> None:
    """Raise InputError for a schedule without decay, or what the device or the installation lacks."""
    check_schedule(config.optim)
    check_compile(config, group.device)
    for name in config.train.trackers:
        TRACKERS[name].check_installed(name)


def _cast_frozen(model: STGCMA, config: RunConfig, group: ProcessGroup) -> None:
    keep = group.is_main and model.backbone_source["kind"] in KEPT_KINDS
    cast_frozen(model, DTYPES[config.train.precision], keep=keep)


def _check_resumable(
    run: RunFolder, config: RunConfig, shards: Location, info: DatasetInfo, stream: dict[str, int] | None
) -> None:
    """Check that a run can be resumed; name the additions to its shards that it has not seen."""
    finished = (run.path / SUMMARY).is_file()  # reads no column, which may be gone
    columns: dict[str, str | None] = {}
    for name, before in run.columns().items():
        column = read_column(shards, name)
        gone = before if finished else None
        columns[name] = gone if column is None else column.sha256
    try:
        run.check_resumable(config, info.data_fingerprint, stream=stream, columns=columns)
    except OtherSettingsError as error:
        unseen = unseen_by_run(run, info)
        if unseen is None:
            raise
        raise OtherSettingsError(f"{error}; {unseen}") from None


def _write_folder(
    run: RunFolder,
    config: RunConfig,
    info: DatasetInfo,
    about: dict[str, Any],
    *,
    resume: bool,
    overwrite: bool,
) -> None:
    """Create the run folder unless a run is resumed, and write the files that describe the run."""
    if not (resume and run.holds_run()):
        RunFolder.create(run.path, overwrite=overwrite)
    run.write_config(config)
    run.write_dataset(info)
    run.write_json("run.json", about)


def _micro_batches(config: RunConfig, group: ProcessGroup) -> MicroBatches:
    """Return the division of a step over processes and `train.accumulate`."""
    count = config.train.accumulate
    if config.optim.batch_size < count * group.size:
        raise InputError(
            f"optim.batch_size is {config.optim.batch_size}, too few clips for {group.size} processes with "
            f"train.accumulate={count}; at least {count * group.size} are needed"
        )
    return MicroBatches(total=count * group.size, first=count * group.rank, count=count)


def _read_summary(run: RunFolder, group: ProcessGroup) -> TrainSummary:
    """Return the summary of a finished run, and say that it is finished."""
    if group.is_main:
        message(f"{run.path} is finished already")
    content = run.read_json(SUMMARY, texts=("score_name",))
    if content.keys() != TrainSummary.__dataclass_fields__.keys():
        raise InputError(f"{run.path / SUMMARY} is not the summary of a run; it holds other fields")
    if content["best_score"] is None:  # JSON has no NaN
        content["best_score"] = math.nan
    return TrainSummary(**content)


def _build_model(task: Task, config: RunConfig, group: ProcessGroup) -> STGCMA:
    """Return the model, drawn from the seed, on the device of `group`."""
    if group.is_main and config.model.get("weights") == "timm":
        message("the backbone's published weights, from timm's cache or the network")
    model = new_model(task, config)
    with _memory_explained(config, model, group):
        model.to(group.device)
    return model


def new_model(task: Task, config: RunConfig) -> STGCMA:
    """Return the model of a training on a task's data, drawn from the seed, on the CPU."""
    torch.manual_seed(config.train.seed)
    options = task.model_options() | {"checkpointing": config.train.checkpointing} | architecture(config)
    return build_model(config.preset, config.model.get("weights") or "random", **options)


def _trained_on(config: RunConfig, model: STGCMA, training: ClipDataset) -> TrainedOn:
    """Return the description of the data and settings that checkpoints of the run store."""
    return trained_on(
        training.info,
        config,
        backbone=model.config.backbone,
        normalisation=training.normalisation,
        clip_seconds=training.usual_seconds,
    )


def _memory_explained(config: RunConfig, model: STGCMA, group: ProcessGroup) -> AbstractContextManager[None]:
    return memory_explained(
        f"with {clips_at_a_time(config, group.size)} clips at a time",
        group.device,
        lambda: training_advice(config, model.config, group.device, group.size),
    )


def _data(
    shards: Location,
    training: ClipDataset,
    group: ProcessGroup,
    stream: dict[str, int] | None,
    initial: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return the shards, the training clips, their division and the first weights, for `run.json`."""
    data: dict[str, Any] = {
        "shards": absolute(shards),
        "data_fingerprint": training.task.info.data_fingerprint,
        "clip_seconds": training.usual_seconds,
        "processes": group.size,
    }
    further = {"stream": stream, "init_from": initial, "columns": training.columns or None}
    return data | {name: value for name, value in further.items() if value is not None}


def _selections(
    config: RunConfig, training: ClipDataset, selection: ClipDataset, group: ProcessGroup
) -> dict[str, Any]:
    """Return the numbers of clips that `data.where` selects, for `run.json`, and say them."""
    opened = (training, selection)
    for clips in opened:
        if clips.without_column and group.is_main:
            message(clips.lacking)
    splits = {clips.split: clips.selection for clips in opened if clips.selection is not None}
    for split, counts in splits.items():
        if group.is_main:
            unknown = f"; {counts['unknown']} lack a value" if counts["unknown"] else ""
            message(f"data.where selects {counts['selected']} of {counts['clips']} {split} clips{unknown}")
    return {"where": {"condition": config.data.where, **splits}} if splits else {}


def _environment(model: STGCMA) -> dict[str, Any]:
    """Return the parameter counts, the backbone, and the software and machine of this process."""
    packages = ("torch", "torchvision", "timm", "numpy", "pillow", "safetensors", "webdataset")
    trainable, total = count_parameters(model)
    return {
        "trainable_parameters": trainable,
        "total_parameters": total,
        "backbone": model.backbone_source,
        "versions": {"python": platform.python_version()} | package_versions(*packages),
        "git_revision": git_revision(),
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
    }
