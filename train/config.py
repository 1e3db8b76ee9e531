"""The configuration of a run: its schema, presets, and the settings on top of them."""

from __future__ import annotations

import difflib
from contextlib import suppress
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ..errors import InputError
from ..model import PRESET_NAMES, preset_config
from .preset_files import preset_names, read_preset
from .tasks import TASKS

# The modality of every architecture preset.
_OF_EVERY_PRESET = "av"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _range(value: tuple[float, float]) -> tuple[float, float]:
    low, high = value
    if not 0 < low <= high:
        raise ValueError("a range is two numbers above 0, the smaller one first")
    return value


def _share_range(value: tuple[float, float]) -> tuple[float, float]:
    if _range(value)[1] > 1:
        raise ValueError("shares are at most 1")
    return value


def _known_task(value: str) -> str:
    if value not in TASKS:
        raise ValueError(f"must be one of {', '.join(TASKS)}")
    return value


# timm's names of RandAugment's settings, e.g. magnitude 7 in 4 layers.
_RAND_AUGMENT = r"^rand(-((m|mmax|n|inc)\d+|(mstd|p)\d+(\.\d+)?))+$"


class DataConfig(_Section):
    """Reading of clips. Fbanks are normalised as `(x − mean) / (2·std)`."""

    # None: as measured on the training clips, from dataset.json.
    fbank_mean: float | None = None
    fbank_std: float | None = Field(default=None, gt=0)
    workers: int = Field(default=1, ge=0)
    # RandAugment, random crop, flip and erasing, one draw a clip. Moves pixels that masks and questions
    # ("left of") refer to.
    augment: bool = False
    # The settings of RandAugment, as timm writes them.
    rand_augment: str = Field(default="rand-m7-n4-mstd0.5-inc1", pattern=_RAND_AUGMENT)
    # The random crop's share of the frame's area, and its aspect (width / height).
    crop_scale: Annotated[tuple[float, float], AfterValidator(_share_range)] = (0.08, 1.0)
    crop_aspect: Annotated[tuple[float, float], AfterValidator(_range)] = (3 / 4, 4 / 3)
    # How often frames are mirrored, and how often a random rectangle of them is erased.
    flip: float = Field(default=0.5, ge=0, le=1)
    erasing: float = Field(default=0.25, ge=0, le=1)
    # How often a training clip's sound is mixed with another's.
    mixup: float = Field(default=0.0, ge=0, le=1)
    # The share of a mixture is drawn from Beta(mixup_beta, mixup_beta).
    mixup_beta: float = Field(default=10.0, gt=0)
    # AVQA: a step's clips come with `one` question each, or with `all` of theirs.
    questions: Literal["one", "all"] = "one"
    # AVQA: every negative frame is one of another clip (`frames`), or they are those of one (`clip`).
    negatives: Literal["frames", "clip"] = "frames"
    # `indexed`: clips in any order; `streamed`: shard after shard, for shards larger than a local disk.
    read: Literal["indexed", "streamed"] = "indexed"
    # Streamed: clips among which each loader process shuffles.
    shuffle_buffer: int = Field(default=100, ge=1)
    # Compare every clip with the manifest's hash when a process first reads it; streamed, at every read.
    verify: bool = True
    # Folder for shards behind a URL; None: the user's cache folder.
    cache: str | None = None


class OptimConfig(_Section):
    """Adam with two learning rates, warm-up and cosine (paper, Table 9)."""

    adapter_lr: float = Field(gt=0)
    task_lr: float = Field(gt=0)
    minimal_lr: float = Field(ge=0)
    # Clips of a step, of all processes and all `train.accumulate` parts together.
    batch_size: int = Field(ge=1)
    epochs: int = Field(default=20, ge=1)
    warmup_epochs: int = Field(default=2, ge=0)
    betas: tuple[float, float] = (0.95, 0.999)
    weight_decay: float = Field(default=5e-7, ge=0)


class LossConfig(_Section):
    """Options of the losses."""

    # AVS: soft Jaccard, binary cross-entropy, or their sum.
    mask: Literal["iou", "bce", "iou+bce"] = "iou+bce"
    # AVQA: the weight of the match loss, which tells a clip's own frames from another's.
    match: float = Field(default=0.5, ge=0)


class TrainConfig(_Section):
    """Settings of the training loop."""

    seed: int = Field(default=0, ge=0)
    select_on: Literal["val", "test"] = "val"
    # Recompute activations in the backward pass: the same numbers, less memory, more time.
    checkpointing: bool = False
    # Number format of the activations; weights and optimiser stay fp32.
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    # Work off a step's clips in this many parts, to need less memory: the same gradient but for AVS, whose
    # batch normalisation sees a part at a time.
    accumulate: int = Field(default=1, ge=1)
    # Let matrix products and convolutions in fp32 round their factors to TF32 (10 bits), on GPUs that can.
    tf32: bool = False
    # torch.compile the model's forward and backward passes.
    compile: bool = False
    # Save the whole state every so many steps, and after every epoch.
    save_every_steps: int = Field(default=500, ge=1)


class RunConfig(_Section):
    """A run's whole configuration, as `config.yaml` in the run folder holds it.

    `model` holds the options of `ModelConfig` that differ from the architecture preset of the same name, and
    `weights`, the source of the frozen weights, as `build_model` takes it.
    """

    preset: str
    task: Annotated[str, AfterValidator(_known_task)]
    model: dict[str, Any] = Field(default_factory=dict)
    data: DataConfig = DataConfig()
    optim: OptimConfig
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()


def load_preset(name: str, settings: list[str] | None = None, **model: Any) -> RunConfig:
    """Return the configuration of preset `name` with `settings` (`section.key=value`) and `model` overrides.

    Raises InputError listing the known presets, the nearest key, or every value at fault.
    """
    if name not in preset_names():
        raise InputError(f"preset {name!r} is not known{_suggest(name, list(preset_names()))}")
    content = {**read_preset(name).settings, "preset": name}
    content.setdefault("model", {}).update({key: value for key, value in model.items() if value is not None})
    for setting in settings or []:
        _apply(content, setting)
    if content["model"].get("modality") == _OF_EVERY_PRESET:
        del content["model"]["modality"]  # given or not, the run is the same
    if content["model"].get("weights") == "random":
        content["model"]["weights"] = None  # in either spelling, the run is the same
    config = parse(content, where=f"preset {name}")
    check_schedule(config.optim)
    return config


def check_schedule(optim: OptimConfig) -> None:
    """Raise InputError when the warm-up leaves no epoch in which the learning rate decays.

    Configurations of runs that an earlier version trained so can still be read.
    """
    if optim.warmup_epochs >= optim.epochs:
        raise InputError(
            f"optim.warmup_epochs is {optim.warmup_epochs}, optim.epochs is {optim.epochs}: the learning "
            f"rate would never decay; the warm-up must be at most {optim.epochs - 1} here"
        )


def with_earlier_defaults(content: Any) -> Any:
    """Return the content of a run's `config.yaml` with the settings that version 0.1 did not have.

    Earlier versions took the negatives of AVQA from one clip and had no setting for it. They also accepted
    options of other kinds of models, such as `mask_channels` for AVE, without effect; these are left out.
    """
    if not isinstance(content, dict):
        return content
    data, model = content.get("data"), content.get("model")
    if content.get("task") == "avqa" and isinstance(data, dict) and "negatives" not in data:
        content = content | {"data": data | {"negatives": "clip"}}
    if isinstance(model, dict) and content.get("preset") in PRESET_NAMES:
        options = {n: value for n, value in model.items() if isinstance(n, str) and n != "weights"}
        with suppress(InputError):  # of a fault that `parse` reports
            known = preset_config(content["preset"]).applicable(options)
            content = content | {"model": {n: v for n, v in model.items() if n not in options or n in known}}
    return content


def deviations(preset: str) -> str:
    """Return the differences of `preset` from the paper's Table 9; empty where there are none."""
    return read_preset(preset).deviates


def parse(content: dict[str, Any], *, where: str) -> RunConfig:
    """Check `content` against the schema. Raises InputError naming `where` and all faults."""
    if not isinstance(content, dict):
        raise InputError(f"{where} holds a {type(content).__name__}, expected sections")
    try:
        config = RunConfig.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'all'}: {fault['msg'].lower()}, got {fault['input']!r}"
            for fault in error.errors()
        )
        raise InputError(f"{where}: {faults}") from None
    preset_config(config.preset, **architecture(config))
    return config


def replaced(config: RunConfig, section: str, **values: Any) -> RunConfig:
    """Return `config` with some values of a section changed, checked again."""
    content = config.model_dump(mode="json")
    content[section] = {**content[section], **values}
    return parse(content, where=f"preset {config.preset}")


def architecture(config: RunConfig) -> dict[str, Any]:
    """Return the options that the run's `model` section changes in the architecture preset."""
    return {name: value for name, value in config.model.items() if name != "weights"}


def _apply(content: dict[str, Any], setting: str) -> None:
    """Apply one `section.key=value`; the value is read as YAML."""
    path, equals, text = setting.partition("=")
    section, dot, key = path.strip().partition(".")
    if not (equals and dot and key):
        raise InputError(f"--set {setting!r} must look like section.key=value, e.g. optim.adapter_lr=1e-4")
    sections = {
        name: field.annotation
        for name, field in RunConfig.model_fields.items()
        if name not in ("preset", "task")
    }
    kind = sections.get(section)
    if section == "model":
        known = None
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        known = list(kind.model_fields)
    else:
        raise InputError(f"--set {path}: no section {section!r}{_suggest(section, list(sections))}")
    if known is not None and key not in known:
        raise InputError(f"--set {path}: {section} has no {key!r}{_suggest(key, known)}")
    content.setdefault(section, {})[key] = _value(path, text)


def _value(path: str, text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"--set {path}: {text!r} is not YAML; put quotes around a text with signs") from None
    if isinstance(value, str):
        # YAML 1.1 reads 1e-4 as a word.
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _suggest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; choose from {', '.join(known)}"
