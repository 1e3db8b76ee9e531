"""A trained model of a run or a checkpoint folder, with the settings that scoring and predicting need."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from ..cores import usable_cores
from ..errors import InputError
from ..model import STGCMA, TrainedOn, load_model
from ..model.checkpoint import ADAPTERS
from ..model.records import BackboneConfig
from ..model.tensor_files import file_sha256
from ..shards.manifest import read_dataset
from ..shards.reader import split_places
from ..shards.schema import AudioStatistics, DatasetInfo
from ..shards.storage import Location
from .config import RunConfig, load_preset, replaced
from .inputs import Normalisation
from .run_folder import RunFolder


@dataclass(frozen=True)
class Trained:
    """A model in evaluation mode, on the CPU.

    Attributes:
        path: the run folder or checkpoint folder.
        run: the run folder; None for a checkpoint.
        config: of the run; for a checkpoint, its preset with the settings that the checkpoint records.
        info: the data it was trained on: classes or vocabulary, features, statistics of the audio.
        model: the model.
        clip_seconds: the median length of the training clips; None when not recorded.
        sha256: of the file of trained tensors.
    """

    path: Path
    run: RunFolder | None
    config: RunConfig
    info: DatasetInfo
    model: STGCMA
    clip_seconds: float | None
    sha256: str


def open_trained(
    path: str | Path,
    *,
    preset: str | None = None,
    shards: Location | None = None,
    weights: str | Path | None = None,
) -> Trained:
    """Open the best checkpoint of the run folder `path`, or the checkpoint folder `path`.

    Args:
        path: the folder.
        preset: for a checkpoint that does not record its training data (imported, or of an earlier
            version): the preset with its normalisation, batch size and precision.
        shards: for such a checkpoint, shards with its classes or vocabulary and its sampling.
        weights: of the backbone, as `load_model` takes them.

    Raises InputError when `path` has no checkpoint, or an argument does not fit it.
    """
    path = Path(path)
    if (path / ADAPTERS).is_file() and not RunFolder.is_pushed(path):
        return _open_checkpoint(path, preset=preset, shards=shards, weights=weights)
    run = RunFolder.open(path)
    if preset is not None:
        raise InputError(f"preset is {preset!r}, but RUN {path} has its own; it is for checkpoint folders")
    about = run.read_json("run.json")
    return Trained(
        path=path,
        run=run,
        config=_for_this_machine(run.read_config()),
        info=run.read_dataset(),
        model=load_model(run.best, weights),
        clip_seconds=about.get("clip_seconds"),
        sha256=run.best_sha256(),
    )


def _open_checkpoint(
    path: Path, *, preset: str | None, shards: Location | None, weights: str | Path | None
) -> Trained:
    model = load_model(path, weights)
    known = model.trained_on
    if known is None and (preset is None or shards is None):
        missing = "a preset" if preset is None else "shards"
        raise InputError(
            f"{path} does not say what it was trained on (it was imported, or is of an earlier version): "
            f"{missing} must say so; give the options preset and shards"
        )
    config = load_preset(preset or (known.preset if known else ""))
    if config.task != model.config.task:
        raise InputError(f"preset {config.preset} is for {config.task}, {path} for {model.config.task}")
    if known is None:
        config = replaced(config, "train", precision="fp32")
        info, seconds = read_dataset(shards or ""), _usual_seconds(shards or "")
    else:
        config = replaced(config, "data", fbank_mean=known.fbank_mean, fbank_std=known.fbank_std)
        config = replaced(config, "train", precision=known.precision, tf32=known.tf32)
        info, seconds = _info_of(known, config.task), known.clip_seconds
    config = _for_this_machine(config)
    return Trained(path, None, config, info, model, seconds, file_sha256(path / ADAPTERS))


def _for_this_machine(config: RunConfig) -> RunConfig:
    """Return `config` with no more loader processes than cores, for a run of another machine too."""
    workers = config.data.workers
    return replaced(config, "data", workers=1 if workers is None else min(workers, usable_cores()))


def _usual_seconds(shards: Location) -> float | None:
    _, seconds = split_places(shards, "train")
    return statistics.median(seconds) if seconds else None


def _info_of(known: TrainedOn, task: str) -> DatasetInfo:
    return DatasetInfo(
        name=known.collection,
        task=task,
        features=dict(known.features),
        classes=known.classes,
        counts={},
        audio={known.fbank: AudioStatistics(known.fbank_mean, known.fbank_std)},
        versions={},
        plan_sha256="",
        vocabulary={name: list(words) for name, words in known.vocabulary.items()},
    )


def trained_on(
    info: DatasetInfo,
    config: RunConfig,
    *,
    backbone: BackboneConfig,
    normalisation: Normalisation,
    clip_seconds: float,
) -> TrainedOn:
    """Return the description of the training data and of the precision that the run's checkpoints store."""
    return TrainedOn(
        collection=info.name,
        preset=config.preset,
        classes=info.classes,
        vocabulary={name: tuple(words) for name, words in info.vocabulary.items()},
        features=info.features,
        clip_seconds=clip_seconds,
        fbank=backbone.fbank,
        fbank_mean=normalisation.mean,
        fbank_std=normalisation.std,
        image_mean=backbone.image_mean,
        image_std=backbone.image_std,
        precision=config.train.precision,
        tf32=config.train.tf32,
    )
