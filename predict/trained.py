"""A trained run, ready to be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import InputError
from ..model import STGCMA
from ..preprocess.collections.specification import (
    FBANK_KINDS,
    FRAME_PIXELS,
    JPEG_QUALITY,
    FbankKind,
    FeatureSettings,
    Sampling,
)
from ..preprocess.samples.whole_video import DecodedVideo, read_sound, read_window
from ..preprocess.samples.windows import Span
from ..shards.storage import Location
from ..train.config import RunConfig
from ..train.data import Normalisation, decode_frames, normalisation_of, normalise, read_fbank
from ..train.distributed import pick_device
from ..train.memory import memory_explained, scoring_advice
from ..train.objective import run_model, set_tf32
from ..train.tasks import task_of
from ..train.tasks.base import Task
from ..train.trained import open_trained
from .digits import clock

_MOST_WINDOW_SECONDS = 14_400  # four hours, the longest clip


@dataclass(frozen=True)
class TrainedRun:
    """A model with all that it has to know of the clips it was trained on.

    Attributes:
        settings: how a clip becomes a sample.
        window_seconds: how long the clips were.
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
        """The fbank that the model hears."""
        return FBANK_KINDS[self.settings.fbanks[0]]

    def caption(self, decoded: DecodedVideo) -> str:
        """Return the caption of a picture: the video's length, a missing sound, preset and run."""
        parts = [clock(decoded.seconds), *([] if decoded.has_audio else ["no sound"])]
        return " · ".join([*parts, self.config.preset, self.path.name])

    def window(self, decoded: DecodedVideo, place: int) -> dict[str, bytes]:
        """A window of a video as a sample's members."""
        return read_window(decoded, place, self.settings)

    def sound(self, decoded: DecodedVideo, span: Span) -> npt.NDArray[np.float16]:
        """Return the log-mel energies `[n, bins]` of a part of a video, to be drawn."""
        return read_sound(decoded, span, self.kind)

    def __call__(self, members: dict[str, bytes], question: Tensor | None = None) -> dict[str, Tensor]:
        """The model's outputs for a sample's members, float32 on the CPU, without the batch's dimension.

        question: word ids `[Q, 14]` (AVQA); the outputs then also say what was attended to.
        """
        inputs: dict[str, Tensor] = {}
        if "video" in self.model.config.modalities:
            inputs["video"] = decode_frames(members)[None]
        if "audio" in self.model.config.modalities:
            features = read_fbank(members, self.kind.name)
            inputs["audio"] = normalise(features, self.model.config.audio_shape[0], self.normalisation)[None]
        if question is not None:
            inputs["question"] = question
            inputs["owner"] = torch.zeros(len(question), dtype=torch.int64)
        with torch.inference_mode(), memory_explained("on a window of 1 clip", self.device, scoring_advice):
            inputs = {name: tensor.to(self.device) for name, tensor in inputs.items()}
            made = run_model(self.model, inputs, self.config.train.precision, explain=question is not None)
        of_clip = {name: tensor.float().cpu() for name, tensor in made.items()}
        of_questions = ("answer_logits", "attention_audio", "attention_video")
        return {name: tensor if name in of_questions else tensor[0] for name, tensor in of_clip.items()}


def open_run(
    path: Path,
    *,
    device: str = "auto",
    preset: str | None = None,
    shards: Location | None = None,
    weights: str | Path | None = None,
) -> TrainedRun:
    """The run or the checkpoint in the folder `path`; `preset`, `shards` and `weights` as `open_trained`.

    A run's shards are not needed. Raises InputError when there is none, no checkpoint yet, or one that this
    version cannot follow.
    """
    place = pick_device(device)
    trained = open_trained(path, preset=preset, shards=shards, weights=weights)
    config, info, model = trained.config, trained.info, trained.model
    if shards is not None and (trained.run is not None or model.trained_on is not None):
        raise InputError(
            f"shards are {str(shards)!r}, but {path} says itself what it was trained on; leave them out"
        )
    set_tf32(allowed=config.train.tf32)
    task = task_of(info)
    task.check_model(model.config, where=str(path))
    fbank = f"fbank_{model.config.audio_shape[1]}"
    settings = _settings(info.features, fbank, path)
    frames = settings.sampling.frames
    # The labels of AVE and AVS are one a second; what AVQA is asked is about the whole clip.
    usual = trained.clip_seconds if task.name == "avqa" else frames
    usual = frames if usual is None else usual
    if not isinstance(usual, int | float) or not 0 < usual <= _MOST_WINDOW_SECONDS:
        most = _MOST_WINDOW_SECONDS
        raise InputError(f"{path} has clip_seconds {usual!r}, expected a number up to {most}")
    with memory_explained("loading the model", place, scoring_advice):
        model.to(place)
    return TrainedRun(
        path=path,
        config=config,
        task=task,
        model=model,
        device=place,
        settings=settings,
        window_seconds=max(round(usual), 1),
        normalisation=normalisation_of(info, config.data, fbank, where=str(path)),
    )


def _settings(features: Mapping[str, Any], fbank: str, path: Path) -> FeatureSettings:
    """The recorded settings. Raises InputError when this version would make other samples."""
    if fbank not in FBANK_KINDS:
        raise InputError(f"RUN {path} takes {fbank}, this stgcma makes only {', '.join(FBANK_KINDS)}")
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
        raise InputError(f"RUN {path} was trained on samples that this stgcma makes otherwise; train it anew")
    return settings


def ranked(
    shares: npt.NDArray[np.floating[Any]], names: Sequence[str], count: int
) -> tuple[tuple[str, float], ...]:
    """The `count` likeliest of `names` with their shares `[N]`, the likeliest first."""
    order = np.argsort(-shares, kind="stable")[:count].tolist()
    return tuple((names[index], float(shares[index])) for index in order)
