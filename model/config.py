"""What a model is made of: one frozen, checked, JSON-able record.

Dimension letters, here and in every file of this package:
`B` clips, `T` time steps, `N` tokens of one frame or one audio segment, `D` width, `h` bottleneck width
of an adapter, `H`, `W` rows and columns of a token grid, `F` time frames and `M` mel bins of a segment.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InputError

TASKS = ("ave", "avs", "avqa")
BACKBONES = ("clip", "swin")
MODALITIES = ("av", "av-nofusion", "video", "audio")
LARGEST_FRAMES = 32
QUESTION_WORDS = 14
IN_CHANNELS = {"video": 3, "audio": 1}


# A configuration may come from a stranger's checkpoint; no published model comes near to these.
_MOST = {
    "width": 16_384,
    "patch": 1024,
    "image_size": 1024,
    "window": 32,
    "classes": 10_000_000,
    "vocabulary": 10_000_000,
    "answers": 10_000_000,
    "mask_channels": 65_536,
}
_MOST_IN_LIST = {"depths": 256, "heads": 1024, "audio_shape": 4096}
_MOST_RATIO = 16


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The architecture, checked when made.

    `width`, `depths` and `heads` describe the frozen backbone: a CLIP ViT has one stage (`depths=(12,)`),
    a Swin four, whose width doubles from each to the next. `adapter_ratio` holds h / D per stage; one
    number stands for all stages.

    Raises `InputError` naming the field, its value and what is allowed.
    """

    task: str
    backbone: str
    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    patch: int
    adapter_ratio: tuple[float, ...]
    frames: int
    audio_shape: tuple[int, int]
    """`(F, M)` of one audio segment: time frames × mel bins."""
    image_size: int = 224
    window: int = 7
    """Side of Swin's attention window, in tokens; CLIP has none."""
    modality: str = "av"
    temporal: bool = True
    """Off, every time step stands alone: there is no attention over time, and so no adapters, no bias tables
    and, in CLIP, no temporal embedding either, which serves that attention."""
    spatial: bool = True
    global_: bool = True
    drop_path: float = 0.2
    """Rate in the last block; it grows linearly from 0 over all blocks."""
    classes: int = 29
    vocabulary: int = 93
    answers: int = 42
    mask_channels: int = 256
    """Width of the AVS head; a multiple of 8."""
    checkpointing: bool = False
    """Recompute each block's activations in the backward pass instead of keeping them."""
    backbone_seed: int = 0
    """Draws the frozen weights where no pre-trained ones are given."""
    timm_name: str | None = None
    """The published weights that `weights="timm"` means."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", _integers("depths", self.depths))
        object.__setattr__(self, "heads", _integers("heads", self.heads))
        object.__setattr__(self, "audio_shape", _integers("audio_shape", self.audio_shape))
        _check_choices(self)
        _check_stages(self)
        object.__setattr__(self, "adapter_ratio", _ratios(self.adapter_ratio, len(self.depths)))
        _check_numbers(self)
        _check_shapes(self)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The inputs the model takes, in the order their tokens lie in memory."""
        return (self.modality,) if self.modality in ("video", "audio") else ("video", "audio")

    @property
    def fused(self) -> bool:
        """True where the modalities exchange features inside the encoder."""
        return self.modality == "av"

    @property
    def feature_width(self) -> int:
        """Width of the encoder's output tokens."""
        return self.width << (len(self.depths) - 1)

    @property
    def audio_grid(self) -> tuple[int, int]:
        """Audio patches `(in time, in frequency)`; a remainder smaller than a patch is not read."""
        return self.audio_shape[0] // self.patch, self.audio_shape[1] // self.patch

    def input_shapes(self, batch: int | str = "B") -> dict[str, tuple[int | str, ...]]:
        """The shape of every input the model can take, with `batch` for the number of clips."""
        frame = (batch, self.frames, IN_CHANNELS["video"], self.image_size, self.image_size)
        shapes: dict[str, tuple[int | str, ...]] = {}
        if "video" in self.modalities:
            shapes["video"] = frame
        if "audio" in self.modalities:
            shapes["audio"] = (batch, self.frames, *self.audio_shape)
        if self.task == "avqa":
            shapes["question"] = (batch, QUESTION_WORDS)
            shapes["negative"] = frame
        return shapes

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON has them: tuples become lists."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ModelConfig:
        """The inverse of `to_dict`; an unknown or a missing field is an `InputError`."""
        check_fields(fields)
        required = [field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING]
        if missing := [name for name in required if name not in fields]:
            raise InputError(f"model configuration: {', '.join(missing)} missing")
        return cls(**fields)

    def replace(self, **overrides: Any) -> ModelConfig:
        """A copy with some fields changed; an unknown name is an `InputError`."""
        check_fields(overrides)
        return dataclasses.replace(self, **overrides)


def check_fields(names: Mapping[str, Any]) -> None:
    """Refuses a name that no field has, and says which field comes nearest."""
    known = [field.name for field in dataclasses.fields(ModelConfig)]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise InputError(f"model option {name!r} does not exist; {hint}")


def _integers(name: str, value: Any) -> tuple[int, ...]:
    items = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not items or any(isinstance(item, bool) or not isinstance(item, int) or item < 1 for item in items):
        raise InputError(f"{name}: {value!r}, expected positive integers")
    if max(items) > _MOST_IN_LIST[name]:
        raise InputError(f"{name}: {value!r}, expected at most {_MOST_IN_LIST[name]}")
    return items


def _ratios(value: Any, stages: int) -> tuple[float, ...]:
    items = tuple(value) if isinstance(value, (list, tuple)) else (value,) * stages
    if len(items) == 1:
        items *= stages
    numbers = all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in items)
    if len(items) != stages or not numbers or not all(0 < item < math.inf for item in items):
        raise InputError(f"adapter_ratio: {value!r}, expected one number above 0, or {stages} of them")
    if max(items) > _MOST_RATIO:
        raise InputError(f"adapter_ratio: {value!r}, expected at most {_MOST_RATIO}")
    return tuple(float(item) for item in items)


def _check_choices(config: ModelConfig) -> None:
    for name, allowed in (("task", TASKS), ("backbone", BACKBONES), ("modality", MODALITIES)):
        value = getattr(config, name)
        if value not in allowed:
            raise InputError(f"{name}: {value!r}, expected one of {', '.join(allowed)}")
    for name in ("temporal", "spatial", "global_", "checkpointing"):
        if not isinstance(getattr(config, name), bool):
            raise InputError(f"{name}: {getattr(config, name)!r}, expected true or false")
    if config.task != "ave" and len(config.modalities) == 1:
        raise InputError(
            f"modality: {config.modality!r}, expected av or av-nofusion: {config.task} needs both"
        )
    if config.task != "ave" and config.backbone != "swin":
        raise InputError(f"backbone: {config.backbone!r}, expected swin for {config.task}")


def _check_numbers(config: ModelConfig) -> None:
    for name, most in _MOST.items():
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name}: {value!r}, expected a positive integer")
        if value > most:
            raise InputError(f"{name}: {value}, expected at most {most}")
    if config.mask_channels % 8:
        raise InputError(f"mask_channels: {config.mask_channels}, expected a multiple of 8")
    if isinstance(config.frames, bool) or not isinstance(config.frames, int):
        raise InputError(f"frames: {config.frames!r}, expected an integer from 1 to {LARGEST_FRAMES}")
    if not 1 <= config.frames <= LARGEST_FRAMES:
        raise InputError(f"frames: {config.frames}, expected 1 to {LARGEST_FRAMES}")
    if not isinstance(config.drop_path, (int, float)) or not 0 <= config.drop_path < 1:
        raise InputError(f"drop_path: {config.drop_path!r}, expected a number of at least 0 and below 1")
    if isinstance(config.backbone_seed, bool) or not isinstance(config.backbone_seed, int):
        raise InputError(f"backbone_seed: {config.backbone_seed!r}, expected an integer")
    if not -(2**63) <= config.backbone_seed < 2**64:
        raise InputError(f"backbone_seed: {config.backbone_seed}, expected -2^63 to 2^64 - 1")
    if config.timm_name is not None and not _is_timm_name(config.timm_name):
        # Other names make timm fetch, and trust, whatever they point to.
        raise InputError(f"timm_name: {config.timm_name!r}, expected the name of a model in timm")


def _is_timm_name(name: object) -> bool:
    return isinstance(name, str) and re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)?", name) is not None


def _check_stages(config: ModelConfig) -> None:
    stages = 1 if config.backbone == "clip" else 4
    for name in ("depths", "heads"):
        if len(getattr(config, name)) != stages:
            raise InputError(f"{name}: {getattr(config, name)!r}, expected {stages} for {config.backbone}")


def _check_shapes(config: ModelConfig) -> None:
    for stage, (heads, ratio) in enumerate(zip(config.heads, config.adapter_ratio, strict=True)):
        width = config.width * 2**stage
        if width % heads:
            raise InputError(
                f"heads: {config.heads!r}, expected divisors of the widths; {width} % {heads} ≠ 0"
            )
        if int(width * ratio) < 1:
            raise InputError(f"adapter_ratio: {ratio!r}, expected at least 1/{width} of width {width}")
    if config.image_size % config.patch:
        raise InputError(f"image_size: {config.image_size}, expected a multiple of the patch {config.patch}")
    if len(config.audio_shape) != 2 or min(config.audio_grid) < 1:
        raise InputError(
            f"audio_shape: {config.audio_shape!r}, expected (time frames, mel bins), both ≥ {config.patch}"
        )
    if config.backbone == "swin":
        _check_windows(config)


def _check_windows(config: ModelConfig) -> None:
    if config.audio_shape != (config.image_size, config.image_size):
        raise InputError(
            f"audio_shape: {config.audio_shape!r}, expected {(config.image_size, config.image_size)}: "
            "Swin's windows cover audio and frames alike"
        )
    side = config.image_size // config.patch
    for stage in range(len(config.depths)):
        if (side > config.window and side % config.window) or (stage < 3 and side % 2):
            raise InputError(
                f"image_size: {config.image_size}, expected a grid that halves three times and that windows "
                f"of {config.window} tile; stage {stage + 1} has {side}×{side} tokens"
            )
        side //= 2
