"""A trained run, opened for prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..console import message
from ..errors import InputError
from ..model import STGCMA
from ..model.frozen_precision import cast_frozen
from ..model.inputs import pad_clip
from ..model.records import FRAME_MASK
from ..preprocess.collections.specification import (
    FBANK_KINDS,
    FRAME_PIXELS,
    JPEG_QUALITY,
    FbankKind,
    FeatureSettings,
    Sampling,
)
from ..preprocess.collections.windows import Span
from ..preprocess.samples.whole_video import DecodedVideo, read_sound, read_window
from ..shards.storage import Location
from ..train.config import RunConfig
from ..train.distributed import pick_device
from ..train.inputs import Normalisation, decode_frames, normalisation_of, normalise, read_fbank
from ..train.memory import memory_explained, scoring_advice
from ..train.objective import DTYPES, run_model, set_tf32
from ..train.tasks import task_of
from ..train.tasks.base import Task
from ..train.trained import open_trained
from ..train.unseen import unseen_by_run

_MOST_WINDOW_SECONDS = 14_400  # four hours, the longest clip


@dataclass(frozen=True)
class TrainedRun:
    """A model with the settings of the clips that it was trained on.

    Attributes:
        path: the folder of the run or checkpoint.
        config: its configuration.
        task: with the classes or the vocabulary.
        model: in evaluation mode, on `device`.
        device: of the model.
        settings: of the samples.
        window_seconds: the length of a window.
        normalisation: of the log-mel energies.
    """

    path: Path
    config: RunConfig
    task: Task
    model: STGCMA
    device: torch.device
    settings: FeatureSettings
    window_seconds: int
    normalisation: Normalisation

    @property
    def kind(self) -> FbankKind:
        """The kind of fbank that the model reads."""
        return FBANK_KINDS[self.settings.fbanks[0]]

    @property
    def takes_short_clips(self) -> bool:
        """True when the model takes clips with fewer frames than usual, such as a video of 5 s (AVSS)."""
        return FRAME_MASK in self.model.config.head_inputs

    def window(self, decoded: DecodedVideo, index: int) -> dict[str, bytes]:
        """Return a window of a video as the members of a sample."""
        return read_window(decoded, index, self.settings)

    def sound(self, decoded: DecodedVideo, span: Span) -> npt.NDArray[np.float16]:
        """Return the log-mel energies `[n, bins]` of a part of a video, for drawing."""
        return read_sound(decoded, span, self.kind)

    def __call__(self, members: dict[str, bytes], question: Tensor | None = None) -> dict[str, Tensor]:
        """Return the model's outputs for a sample as a batch of one clip, float32 on the CPU.

        Args:
            members: of the sample.
            question: word ids `[Q, 14]` (AVQA); the outputs then include attention and grounding.
        """
        inputs: dict[str, Tensor] = {}
        if "video" in self.model.config.modalities:
            inputs["video"] = decode_frames(members)
        if "audio" in self.model.config.modalities:
            features = read_fbank(members, self.kind.name)
            inputs["audio"] = normalise(features, self.model.config.audio_shape[0], self.normalisation)
        inputs = {name: tensor[None] for name, tensor in pad_clip(inputs, self.model.config).items()}
        if question is not None:
            inputs["question"] = question
            inputs["owner"] = torch.zeros(len(question), dtype=torch.int64)
        with torch.inference_mode(), memory_explained("on a window of 1 clip", self.device, scoring_advice):
            inputs = {name: tensor.to(self.device) for name, tensor in inputs.items()}
            outputs = run_model(self.model, inputs, self.config.train.precision, explain=question is not None)
        return {name: tensor.float().cpu() for name, tensor in outputs.items()}


def open_run(
    path: Path,
    *,
    device: str = "auto",
    preset: str | None = None,
    shards: Location | None = None,
    weights: str | Path | None = None,
) -> TrainedRun:
    """Open a run or a checkpoint folder. The run's shards are not needed.

    Args:
        path: the folder.
        device: of torch, or `auto`.
        preset: as in `open_trained`.
        shards: as in `open_trained`.
        weights: as in `open_trained`.

    Raises InputError when there is no run, no checkpoint yet, or one that this version cannot use.
    """
    chosen = pick_device(device)
    trained = open_trained(path, preset=preset, shards=shards, weights=weights)
    config, info, model = trained.config, trained.info, trained.model
    if trained.run is not None and (note := unseen_by_run(trained.run)) is not None:
        message(note)
    if shards is not None and (trained.run is not None or model.trained_on is not None):
        raise InputError(
            f"shards are {str(shards)!r}, but {path} says itself what it was trained on; leave them out"
        )
    set_tf32(allowed=config.train.tf32)
    task = task_of(info)
    task.check_model(model.config, where=str(path))
    fbank = model.config.backbone.fbank
    settings = _settings(info.features, fbank, path)
    window_seconds = _window_seconds(task, settings.sampling, trained.clip_seconds, path)
    with memory_explained("loading the model", chosen, scoring_advice):
        model.to(chosen)
        cast_frozen(model, DTYPES[config.train.precision], keep=False)
    return TrainedRun(
        path=path,
        config=config,
        task=task,
        model=model,
        device=chosen,
        settings=settings,
        window_seconds=window_seconds,
        normalisation=normalisation_of(info, config.data, fbank, where=str(path)),
    )


def _window_seconds(task: Task, sampling: Sampling, clip_seconds: float | None, path: Path) -> int:
    """Return the length of a window in whole seconds: that of the training clips.

    Tasks with an output for every second have one frame for each. Raises InputError for a damaged length.
    """
    found = sampling.frames if task.outputs_per_second or clip_seconds is None else clip_seconds
    if not isinstance(found, int | float) or not 0 < found <= _MOST_WINDOW_SECONDS:
        raise InputError(f"{path} has clip_seconds {found!r}, expected a number up to {_MOST_WINDOW_SECONDS}")
    return max(round(found), 1)


def _settings(features: Mapping[str, Any], fbank: str, path: Path) -> FeatureSettings:
    """Return the recorded settings. Raises InputError when this version makes other samples."""
    if fbank not in FBANK_KINDS:
        raise InputError(f"RUN {path} needs {fbank}, this stgcma makes only {', '.join(FBANK_KINDS)}")
    try:
        settings = FeatureSettings(Sampling(**features["sampling"]), (fbank,))
        recorded = {f"fbank_{one['mel_bins']}": one for one in features["fbanks"].values()}
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(f"RUN {path}: the features that it records: {error}") from None
    same = recorded.get(fbank) == FBANK_KINDS[fbank].to_json()
    if not same or (features.get("frame_pixels"), features.get("jpeg_quality")) != (
        FRAME_PIXELS,
        JPEG_QUALITY,
    ):
        raise InputError(f"RUN {path} was trained on samples that this stgcma makes differently; train again")
    return settings
