"""The three records of a model's configuration, and the entries of the registries that implement them.

A record is a frozen dataclass that checks itself. A backbone family, an adapter method and a task head each
extend one of the classes here, in a file of their own in `backbones/`, `adapters/` and `heads/`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from ..errors import InputError
from .checks import check_choice, check_integer, check_number, integers, numbers

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# A configuration may come from a stranger's checkpoint; no published backbone comes near to these.
_MOST_WIDTH = 16_384
_MOST_PIXELS = 1024
_MOST_BLOCKS = 256
_MOST_HEADS = 1024
_MOST_AUDIO = 4096


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """One frozen image transformer. Raises InputError naming the field, its value and what is allowed.

    Attributes:
        width: D of the first stage; it doubles from each stage to the next.
        depths: blocks per stage.
        heads: attention heads per stage.
        patch: side of a patch, in pixels.
        audio_shape: `(F, M)` of one audio segment, time frames × mel bins.
        audio_stem: the audio stem's kernel is the `sum` or the `mean` of the image stem's over the colours.
        image_size: side of a frame, in pixels.
        image_mean, image_std: by channel; frames are normalised as `(x / 255 − mean) / std`.
        drop_path: rate in the last block; it grows linearly from 0 over all blocks.
        seed: of the frozen weights, where no pre-trained ones are given.
        timm_name: timm's name of the published weights; None where there are none.
    """

    family: ClassVar[str]
    stages: ClassVar[int]
    provides: ClassVar[frozenset[str]]
    """The fields of `Encoded` that the family's encoder fills."""
    hierarchical: ClassVar[bool] = False
    """True where the maps of `Encoded.stages` halve in side and double in width from each to the next."""
    relative_time: ClassVar[bool] = False
    """True where attention over time has a bias for each distance, in every other block, and no embedding."""
    parallel_unimodal: ClassVar[bool] = False
    """True where the release's models of one modality adapt the MLP's input, in parallel to the MLP."""

    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    patch: int
    audio_shape: tuple[int, int]
    audio_stem: str
    image_size: int = 224
    image_mean: tuple[float, float, float] = IMAGENET_MEAN
    image_std: tuple[float, float, float] = IMAGENET_STD
    drop_path: float = 0.2
    seed: int = 0
    timm_name: str | None = None

    def __post_init__(self) -> None:
        for name, most in (("depths", _MOST_BLOCKS), ("heads", _MOST_HEADS), ("audio_shape", _MOST_AUDIO)):
            object.__setattr__(self, name, integers(name, getattr(self, name), most=most))
        for name in ("image_mean", "image_std"):
            object.__setattr__(self, name, numbers(name, getattr(self, name), count=3))
        for name in ("depths", "heads"):
            if len(getattr(self, name)) != self.stages:
                raise InputError(f"{name}: {getattr(self, name)!r}, expected {self.stages} for {self.family}")
        check_choice("audio_stem", self.audio_stem, ("sum", "mean"))
        check_integer("width", self.width, most=_MOST_WIDTH)
        for name in ("patch", "image_size"):
            check_integer(name, getattr(self, name), most=_MOST_PIXELS)
        check_number("drop_path", self.drop_path, below=1)
        _check_seed(self.seed)
        if min(self.image_std) <= 0:
            raise InputError(f"image_std: {self.image_std!r}, expected three numbers above 0")
        if self.timm_name is not None and not _is_timm_name(self.timm_name):
            # Other names make timm fetch, and trust, whatever they point to.
            raise InputError(f"timm_name: {self.timm_name!r}, expected the name of a model in timm")
        self._check_sizes()

    def _check_sizes(self) -> None:
        for width, heads in zip(self.widths, self.heads, strict=True):
            if width % heads:
                raise InputError(
                    f"heads: {self.heads!r}, expected divisors of the widths; {width} % {heads} ≠ 0"
                )
        if self.image_size % self.patch:
            raise InputError(f"image_size: {self.image_size}, expected a multiple of the patch {self.patch}")
        if len(self.audio_shape) != 2 or min(self.audio_grid) < 1:
            raise InputError(
                f"audio_shape: {self.audio_shape!r}, expected (time frames, mel bins), both ≥ {self.patch}"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """D of every stage."""
        return tuple(self.width << stage for stage in range(self.stages))

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """D of the four maps of `Encoded.stages`."""
        return self.widths if self.hierarchical else (self.width,) * 4

    @property
    def audio_grid(self) -> tuple[int, int]:
        """Audio patches `(in time, in frequency)`; a remainder smaller than a patch is not read."""
        return self.audio_shape[0] // self.patch, self.audio_shape[1] // self.patch

    @property
    def fbank(self) -> str:
        """The shard member that the audio comes from, such as `fbank_128`: named by its mel bins."""
        return f"fbank_{self.audio_shape[1]}"


def _check_seed(seed: Any) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(f"backbone_seed: {seed!r}, expected an integer")
    if not -(2**63) <= seed < 2**64:
        raise InputError(f"backbone_seed: {seed}, expected -2^63 to 2^64 - 1")


def _is_timm_name(name: object) -> bool:
    return isinstance(name, str) and re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)?", name) is not None


_Adapter = TypeVar("_Adapter", bound="AdapterConfig")


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """The trained part of a block, by method."""

    method: ClassVar[str]

    @property
    def temporal_embedding(self) -> bool:
        """True where the encoder adds a trained embedding of the time step to its tokens."""
        return False

    @classmethod
    def learning_rate(cls, _task: str) -> float | None:
        """Return the recommended peak learning rate with a pre-trained backbone; None for the preset's."""
        return None

    def carried(self, _backbone: BackboneConfig) -> dict[str, Any]:
        """Return the options that must change when the backbone is replaced by another one."""
        return {}

    def fitted(self: _Adapter, _backbone: BackboneConfig) -> _Adapter:
        """Return the record completed for a backbone. Raises InputError where it does not fit."""
        return self


FRAME_MASK = "frame_mask"
"""Name of the input that marks the frames of each clip among those that pad it to T, bool `[B, T]`."""


@dataclass(frozen=True)
class InputSpec:
    """An input that a head takes besides frames and sound.

    Attributes:
        shape: without the batch dimension.
        integers: int64 rather than floating point.
        booleans: bool rather than floating point.
        optional: the model runs without it.
        per: its rows are `clips` or `questions`.
        below: for integers, one more than the largest allowed value, and the name of that size.
    """

    shape: tuple[int, ...]
    integers: bool = False
    booleans: bool = False
    optional: bool = False
    per: str = "clips"
    below: tuple[int, str] | None = None


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """A task head. The class attributes say what the task needs.

    Attributes:
        task: the head's name in its registry.
        frames: T of the task's published models.
        needs: the fields of `Encoded` that the head reads.
        pooled_of: the modalities whose `pooled` the head reads.
        needs_both: the head reads both modalities.
        explains: the head takes `explain`, and returns where it attended to.
    """

    task: ClassVar[str]
    frames: ClassVar[int]
    needs: ClassVar[frozenset[str]] = frozenset({"pooled"})
    pooled_of: ClassVar[frozenset[str]] = frozenset({"video", "audio"})
    needs_both: ClassVar[bool] = False
    explains: ClassVar[bool] = False

    def inputs(self, _frame_shape: tuple[int, ...]) -> dict[str, InputSpec]:
        """Return the inputs besides frames `[B, *frame_shape]` and sound, by name."""
        return {}

    def outputs(self) -> dict[str, str]:
        """Return the meaning of each output of the model in evaluation, by name, for files without code."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Family:
    """A backbone family, the entry of `FAMILIES`.

    Attributes:
        config: the class of its records.
        encoder: builds the adapted encoder, as `encoder(config, device=…)` (an `Encoder`).
        records: the published backbones, and the small ones of the demo presets, by name.
        rename: translates the names of a published file of weights, `rename(tensors, record)`, into timm's.
        torchscript: the weights are published as TorchScript archives.
        read: returns the record of a timm model that has none in `records`, as `read(timm_name)`; None where
            timm has no such model of this family.
        published: builds timm's model of a record with its published weights; by default timm's model of
            the record's `timm_name` as it is.
    """

    config: type[BackboneConfig]
    encoder: Callable[..., nn.Module]
    records: Mapping[str, BackboneConfig]
    rename: Callable[[dict[str, Tensor], Any], dict[str, Tensor]]
    torchscript: bool = False
    read: Callable[[str], BackboneConfig | None] | None = None
    published: Callable[[Any], nn.Module] | None = None


@dataclass(frozen=True, kw_only=True)
class AdapterMethod:
    """An adapter method, the entry of `ADAPTERS`.

    Attributes:
        config: the class of its record.
        block: builds the trained part of one block, as `block(config, site)` (a `BlockAdapter`); None for a
            method that trains nothing in a block.
        side: builds the network beside the backbone, as `side(config)` (a `SideAdapter`); None without. The
            backbone then runs without a gradient.
    """

    config: type[AdapterConfig]
    block: Callable[..., nn.Module] | None = None
    side: Callable[..., nn.Module] | None = None


@dataclass(frozen=True, kw_only=True)
class Head:
    """A task head, the entry of `HEADS`.

    Attributes:
        config: the class of its record.
        module: builds the head, as `module(config)` (a `TaskHead`).
        reference_names: names of the authors' release → the head's, as `reference_names(config)`; None
            where the release has no such head.
        read_reference: reads the head's options off a release checkpoint; None for another task's.
    """

    config: type[HeadConfig]
    module: Callable[..., nn.Module]
    reference_names: Callable[[Any], dict[str, str]] | None = None
    read_reference: Callable[[Mapping[str, Tensor]], dict[str, Any] | None] | None = None


def to_dict(record: BackboneConfig | AdapterConfig | HeadConfig) -> dict[str, Any]:
    """Return a record's fields as JSON has them: tuples become lists."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(record).items()
    }
