"""The configuration of a run: its schema, presets, and the settings on top of them."""

from __future__ import annotations

import difflib
from contextlib import suppress
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from ..errors import InputError
from ..model import PRESET_NAMES, preset_config
from .preset_files import preset_names, read_preset
from .sections import DataConfig, LossConfig, OptimConfig, Section, TrainConfig
from .tasks import TASKS

_CONDITION = ("data", "where")
# The modality of every architecture preset.
_OF_EVERY_PRESET = "av"


def _known_task(value: str) -> str:
    if value not in TASKS:
        raise ValueError(f"must be one of {', '.join(TASKS)}")
    return value


class RunConfig(Section):
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

    Where the preset's rates are those of one adapter, another one has its recommended learning rate, unless
    `settings` give one.

    Raises InputError listing the known presets, the nearest key, or every value at fault.
    """
    if name not in preset_names():
        raise InputError(f"preset {name!r} is not known{_suggest(name, list(preset_names()))}")
    file = read_preset(name)
    content = {**file.settings, "preset": name}
    content.setdefault("model", {}).update({key: value for key, value in model.items() if value is not None})
    for setting in settings or []:
        _apply(content, setting)
    if content["model"].get("modality") == _OF_EVERY_PRESET:
        del content["model"]["modality"]  # given or not, the run is the same
    if content["model"].get("weights") == "random":
        content["model"]["weights"] = None  # in either spelling, the run is the same
    config = parse(content, where=f"preset {name}")
    given = [setting.partition("=")[0].strip() for setting in settings or []]
    if file.rates_by_adapter and "optim.adapter_lr" not in given:
        rate = preset_config(name, **architecture(config)).adapter.learning_rate(config.task)
        config = config if rate is None else replaced(config, "optim", adapter_lr=rate)
    check_schedule(config.optim)
    TASKS[config.task].check_settings(config.data, config.loss)
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
    value = _condition(text) if (section, key) == _CONDITION else _value(path, text)
    content.setdefault(section, {})[key] = value


def _condition(text: str) -> str | None:
    """Return the text of a condition as it is: in YAML, a colon or `#` in it would mean something else.

    Quotes around all of it are YAML's.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    quoted = isinstance(value, str) and text.strip()[0] in "'\""
    return value if value is None or quoted else text


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
