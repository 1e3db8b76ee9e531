"""A model's configuration: one frozen, checked, JSON-able record of a backbone, an adapter and a head.

Dimension letters, here and in every file of this package:
`B` clips, `T` time steps, `N` tokens of one frame or one audio segment, `D` width, `h` bottleneck width
of an adapter, `H`, `W` rows and columns of a token grid, `F` time frames and `M` mel bins of a segment.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from .adapters import ADAPTERS
from .backbones import FAMILIES, find_backbone
from .checks import check_choice, check_flag, is_integer
from .heads import HEADS
from .records import AdapterConfig, BackboneConfig, HeadConfig, InputSpec, to_dict

MODALITIES = ("av", "av-nofusion", "video", "audio")
LARGEST_FRAMES = 32
COLOURS = 3
# The adapter of all checkpoints that do not name theirs.
_FIRST_ADAPTER = "stg-cma"

# Options have the names of the records' fields, but for these: (record, field) → option.
_OPTIONS = {
    ("backbone", "seed"): "backbone_seed",
    ("adapter", "ratio"): "adapter_ratio",
}
_SHARED = ("frames", "modality", "checkpointing")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The architecture, checked when made. Raises InputError naming the field, its value, what is allowed.

    Attributes:
        backbone: the frozen transformer.
        adapter: the trained part of its blocks.
        head: the task.
        frames: T, the time steps of a clip.
        modality: `av`; `av-nofusion`, both without exchange; `video`; `audio`.
        checkpointing: recompute each block's activations in the backward pass instead of keeping them.
    """

    backbone: BackboneConfig
    adapter: AdapterConfig
    head: HeadConfig
    frames: int
    modality: str = "av"
    checkpointing: bool = False

    def __post_init__(self) -> None:
        check_choice("modality", self.modality, MODALITIES)
        check_flag("checkpointing", self.checkpointing)
        if not is_integer(self.frames):
            raise InputError(f"frames: {self.frames!r}, expected an integer from 1 to {LARGEST_FRAMES}")
        if not 1 <= self.frames <= LARGEST_FRAMES:
            raise InputError(f"frames: {self.frames}, expected 1 to {LARGEST_FRAMES}")
        if self.head.needs_both and len(self.modalities) == 1:
            raise InputError(
                f"modality: {self.modality!r}, expected av or av-nofusion: {self.task} needs both"
            )
        if not self.head.needs <= self.backbone.provides:
            able = [name for name, family in FAMILIES.items() if self.head.needs <= family.config.provides]
            raise InputError(
                f"backbone: {self.backbone.family!r}, expected {' or '.join(able)} for {self.task}"
            )
        object.__setattr__(self, "adapter", self.adapter.fitted(self.backbone))

    @property
    def task(self) -> str:
        """Name of the head."""
        return self.head.task

    @property
    def audio_shape(self) -> tuple[int, int]:
        """`(F, M)` of one audio segment, the backbone's."""
        return self.backbone.audio_shape

    @property
    def modalities(self) -> tuple[str, ...]:
        """The inputs of the model, in the order of their tokens."""
        return (self.modality,) if self.modality in ("video", "audio") else ("video", "audio")

    @property
    def fused(self) -> bool:
        """True where the modalities exchange features inside the encoder."""
        return self.modality == "av"

    @property
    def feature_width(self) -> int:
        """Width of the encoder's output tokens."""
        return self.backbone.widths[-1]

    @property
    def map_widths(self) -> dict[str, int]:
        """Width of each map of tokens that the head reads: the frames' last tokens, or their stages."""
        widths = {"tokens": self.feature_width} if "tokens" in self.head.needs else {}
        if "stages" in self.head.needs:
            widths |= {f"stage{i}": width for i, width in enumerate(self.backbone.stage_widths)}
        return widths

    @property
    def head_inputs(self) -> dict[str, InputSpec]:
        """The inputs of the head besides frames and sound, by name."""
        return self.head.inputs(self._frame_shape)

    @property
    def _frame_shape(self) -> tuple[int, ...]:
        return self.frames, COLOURS, self.backbone.image_size, self.backbone.image_size

    def input_shapes(self, batch: int | str = "B") -> dict[str, tuple[int | str, ...]]:
        """Return the shape of every input the model can take, with `batch` for the number of clips."""
        shapes: dict[str, tuple[int | str, ...]] = {}
        if "video" in self.modalities:
            shapes["video"] = (batch, *self._frame_shape)
        if "audio" in self.modalities:
            shapes["audio"] = (batch, self.frames, *self.audio_shape)
        return shapes | {name: (batch, *spec.shape) for name, spec in self.head_inputs.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the records as JSON has them."""
        return {
            "backbone": {"family": self.backbone.family, **to_dict(self.backbone)},
            "adapter": {"method": self.adapter.method, **to_dict(self.adapter)},
            "head": {"task": self.head.task, **to_dict(self.head)},
            **{name: getattr(self, name) for name in _SHARED},
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ModelConfig:
        """Return the configuration of `to_dict`, or of the flat options that version 0.1 wrote.

        Raises InputError for an unknown, a missing or a wrong field. Flat options of another task's head, or
        of another family, are left out: version 0.1 wrote them all.
        """
        if isinstance(fields.get("backbone"), Mapping):
            return cls._from_records(fields)
        check_fields(fields)
        return cls._from_options(fields)

    @classmethod
    def _from_records(cls, fields: Mapping[str, Any]) -> ModelConfig:
        known = ("backbone", "adapter", "head", *_SHARED)
        if unknown := [name for name in fields if name not in known]:
            raise InputError(
                f"model configuration: {', '.join(unknown)} not known, expected {', '.join(known)}"
            )
        if faulty := [name for name in known[:3] if not isinstance(fields.get(name), Mapping)]:
            raise InputError(f"model configuration: {', '.join(faulty)} missing")
        kinds = _kinds(
            fields["backbone"].get("family"), fields["adapter"].get("method"), fields["head"].get("task")
        )
        records: dict[str, Any] = {}
        for (name, kind), key in zip(kinds.items(), ("family", "method", "task"), strict=True):
            given = {field: value for field, value in fields[name].items() if field != key}
            if unknown := [field for field in given if field not in _field_names(kind)]:
                raise InputError(f"model configuration: {name}.{unknown[0]} not known")
            records[name] = given
        shared = {name: fields[name] for name in _SHARED if name in fields}
        return cls._made(kinds, records, shared)

    @classmethod
    def _from_options(cls, options: Mapping[str, Any]) -> ModelConfig:
        """Return the configuration of flat options, of which those of other kinds are left out."""
        if missing := [name for name in ("task", "backbone") if name not in options]:
            raise InputError(f"model configuration: {', '.join(missing)} missing")
        kinds = _kinds(options["backbone"], options.get("adapter", _FIRST_ADAPTER), options["task"])
        records = {
            name: {f: options[o] for f, o in _option_names(name, kind) if o in options}
            for name, kind in kinds.items()
        }
        shared = {name: options[name] for name in _SHARED if name in options}
        return cls._made(kinds, records, shared)

    @classmethod
    def _made(
        cls, kinds: Mapping[str, type], records: Mapping[str, dict[str, Any]], shared: dict[str, Any]
    ) -> ModelConfig:
        missing = [
            dict(_option_names(name, kind))[field]
            for name, kind in kinds.items()
            for field in _field_names(kind, required=True)
            if field not in records[name]
        ]
        missing += [
            name for name in _field_names(cls, required=True) if name in _SHARED and name not in shared
        ]
        if missing:
            raise InputError(f"model configuration: {', '.join(missing)} missing")
        return cls(**{name: kind(**records[name]) for name, kind in kinds.items()}, **shared)

    def options(self) -> dict[str, Any]:
        """Return the configuration as flat options, which `replace`, `build_model` and `--set` take."""
        options = {"task": self.task, **_backbone_options(self.backbone), "adapter": self.adapter.method}
        for name in ("adapter", "head"):
            record = getattr(self, name)
            options.update({o: getattr(record, f) for f, o in _option_names(name, type(record))})
        return options | {name: getattr(self, name) for name in _SHARED}

    @classmethod
    def made_of(cls, backbone: BackboneConfig, **options: Any) -> ModelConfig:
        """Return the configuration of a backbone's record and flat options."""
        return cls._from_options({**_backbone_options(backbone), **options})

    def replace(self, **overrides: Any) -> ModelConfig:
        """Return a copy with some options changed.

        `backbone=` takes the name of a backbone, such as `clip-l14`; with `depths=` and further sizes, that
        of a family. Raises InputError for an unknown option, naming the nearest, and for one that this task,
        adapter or backbone does not have.
        """
        config = self._changed(overrides)
        if foreign := [name for name in overrides if name not in config.options()]:
            raise InputError(
                f"model option {foreign[0]!r} does not exist for the task {config.task}, the backbone "
                f"{config.backbone.family} and the adapter {config.adapter.method}"
            )
        return config

    def applicable(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Return the overrides without those that `replace` refuses as options of another kind of model.

        Raises InputError as `replace` for all other faults.
        """
        known = self._changed(overrides).options()
        return {name: value for name, value in overrides.items() if name in known}

    def _changed(self, overrides: Mapping[str, Any]) -> ModelConfig:
        """Return a copy with some options changed; those that it does not have are left out."""
        check_fields(overrides)
        options, changes = self.options(), dict(overrides)
        name = changes.get("backbone", self.backbone.family)
        if name in FAMILIES and name != self.backbone.family and "depths" in changes:
            # Not the fields of every backbone that the family has a default of, such as `audio_stem`.
            fields = _field_names(BackboneConfig, required=True)
            sizes = _field_names(FAMILIES[name].config, required=True)
            options = {o: v for o, v in options.items() if o not in fields or o in sizes}
        elif name != self.backbone.family:
            record = find_backbone(name)
            options |= _backbone_options(record) | self.adapter.carried(record)
            changes["backbone"] = record.family
        return self._from_options(options | changes)


def _backbone_options(backbone: BackboneConfig) -> dict[str, Any]:
    fields = {o: getattr(backbone, f) for f, o in _option_names("backbone", type(backbone))}
    return {"backbone": backbone.family, **fields}


def check_fields(names: Mapping[str, Any]) -> None:
    """Refuse a name that no configuration has as an option; the error names the nearest option."""
    known = option_names()
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise InputError(f"model option {name!r} does not exist; {hint}")


def option_names() -> tuple[str, ...]:
    """Return the options of all backbone families, adapters and heads."""
    kinds: list[tuple[str, type]] = [("backbone", family.config) for _, family in FAMILIES.items()]
    kinds += [("adapter", method.config) for _, method in ADAPTERS.items()]
    kinds += [("head", head.config) for _, head in HEADS.items()]
    options = [option for name, kind in kinds for _, option in _option_names(name, kind)]
    return tuple(dict.fromkeys(["task", "backbone", "adapter", *_SHARED, *options]))


def _option_names(record: str, kind: type) -> Iterator[tuple[str, str]]:
    """Yield the fields of a record class, each with the name of its option."""
    for field in _field_names(kind):
        yield field, _OPTIONS.get((record, field), field)


def _field_names(kind: type, *, required: bool = False) -> list[str]:
    fields = dataclasses.fields(kind)
    return [field.name for field in fields if not required or field.default is dataclasses.MISSING]


def _kinds(family: Any, method: Any, task: Any) -> dict[str, type]:
    """Return the record classes of a family, an adapter method and a task."""
    check_choice("task", task, HEADS.names)
    check_choice("backbone", family, FAMILIES.names)
    check_choice("adapter", method, ADAPTERS.names)
    return {
        "backbone": FAMILIES[family].config,
        "adapter": ADAPTERS[method].config,
        "head": HEADS[task].config,
    }
