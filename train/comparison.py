"""Models compared on the same shards: every combination of some settings, each trained with several seeds."""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from ..errors import InputError
from ..model import preset_config
from ..model.accounting import count_training_bytes
from ..shards.files import publish
from ..shards.storage import Location
from ..strict_json import strict_json
from .config import RunConfig, architecture, load_preset, replaced
from .data import open_task
from .distributed import is_main_process
from .repeats import ScoredRun, ScoredRuns, seeded, train_each, write_runs
from .results import read_evaluation
from .run_folder import RunFolder

COMPARISON = "comparison.json"
# Short names of settings that are compared often.
AXES = {"adapter": "model.adapter", "backbone": "model.backbone", "modality": "model.modality"}
_MOST_RUNS = 1000
# The steps that the model has in each row of the paper's ablation. Without any, only the head learns.
ABLATION = {
    "frozen": {"temporal": False, "spatial": False, "global_": False},
    "+temporal": {"temporal": True, "spatial": False, "global_": False},
    "+temporal+spatial": {"temporal": True, "spatial": True, "global_": False},
    "+temporal+global": {"temporal": True, "spatial": False, "global_": True},
    "all": {"temporal": True, "spatial": True, "global_": True},
}


@dataclass(frozen=True)
class Variant:
    """One combination of the compared settings.

    Attributes:
        name: the combination, which names the folder of its runs.
        choices: axis to value, as given.
        config: of its runs, before the seed.
    """

    name: str
    choices: Mapping[str, str]
    config: RunConfig


@dataclass(frozen=True)
class ComparedModel:
    """One variant, trained and scored with every seed.

    Attributes:
        name: of the variant.
        choices: axis to value.
        runs: one for every seed.
        mean: of the scores.
        std: sample standard deviation of the scores; None for one seed.
        trained_parameters: number of trained values.
        step_seconds: mean time of a training step, scoring not counted; mean of the runs.
        peak_memory_bytes: highest of the runs: of the GPU, else resident.
        clip_memory_bytes: of a training step on one clip, computed from the shapes of its tensors.
        checkpoint_bytes: size of the best checkpoint of the first run.
    """

    name: str
    choices: Mapping[str, str]
    runs: list[ScoredRun]
    mean: float
    std: float | None
    trained_parameters: int
    step_seconds: float
    peak_memory_bytes: int
    clip_memory_bytes: int
    checkpoint_bytes: int

    @property
    def label(self) -> str:
        """The chosen values, as a short name."""
        return ", ".join(self.choices.values())

    @classmethod
    def of(cls, variant: Variant, runs: list[ScoredRun], *, clip_memory_bytes: int) -> Self:
        """Return the row of `variant` from its scored runs."""
        scores = [run.score for run in runs]
        return cls(
            name=variant.name,
            choices=variant.choices,
            runs=runs,
            mean=statistics.fmean(scores),
            std=statistics.stdev(scores) if len(scores) > 1 else None,
            trained_parameters=runs[0].trainable_parameters,
            step_seconds=statistics.fmean(run.step_seconds for run in runs),
            peak_memory_bytes=max(run.peak_memory_bytes for run in runs),
            clip_memory_bytes=clip_memory_bytes,
            checkpoint_bytes=runs[0].checkpoint_bytes,
        )


@dataclass(frozen=True)
class Comparison:
    """All variants, in the order of the settings.

    Attributes:
        preset: that all of them start from.
        split: that the runs are scored on.
        score_name: of the task's score.
        axes: the compared settings.
        models: the variants.
        baselines: scores without a model, by name.
    """

    preset: str
    split: str
    score_name: str
    axes: list[str]
    models: list[ComparedModel]
    baselines: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the content of `comparison.json`."""
        return asdict(self)

    def scored_runs(self) -> ScoredRuns:
        """Return the runs of all variants, in their order."""
        return ScoredRuns(self.split, self.score_name, [run for model in self.models for run in model.runs])


def make_variants(preset: str, over: Sequence[str], settings: Sequence[str] = ()) -> list[Variant]:
    """Return every combination of `over` as a configuration.

    Args:
        preset: that all start from.
        over: axes such as `adapter=stg-cma,lora` or `optim.adapter_lr=1e-4,3e-4`.
        settings: `section.key=value` of all variants.

    Raises InputError naming an axis or a value at fault.
    """
    axes = dict(map(_parse_axis, over))
    if len(axes) < len(over):
        raise InputError(f"--over names the same setting twice: {' '.join(over)}")
    if not axes:
        raise InputError("--over is needed, e.g. --over adapter=stg-cma,lora")
    variants = []
    for values in itertools.product(*axes.values()):
        choices = dict(zip(axes, values, strict=True))
        chosen = [f"{AXES.get(axis, axis)}={value}" for axis, value in choices.items()]
        name = ",".join(f"{axis.rpartition('.')[2]}={value}" for axis, value in choices.items())
        config = load_preset(preset, [*settings, *chosen])
        variants.append(Variant(re.sub(r"[^\w.,=+-]", "-", name), choices, config))
    if len({variant.name for variant in variants}) < len(variants):
        raise InputError(f"--over has two values that make one name of a folder: {' '.join(over)}")
    return variants


def _parse_axis(text: str) -> tuple[str, list[str]]:
    axis, equals, values = text.partition("=")
    axis = axis.strip()
    # Commas inside brackets belong to a value.
    found = [value.strip() for value in re.split(r",(?![^\[]*\])", values)]
    if not equals or not axis or not all(found):
        raise InputError(f"--over {text!r} must look like setting=value,value, e.g. adapter=stg-cma,lora")
    if axis not in AXES and "." not in axis:
        raise InputError(
            f"--over {text!r}: {axis!r} is none of {', '.join(AXES)}; other settings are named as for --set, "
            "e.g. optim.adapter_lr"
        )
    if len(set(found)) < len(found):
        raise InputError(f"--over {text!r} has a value twice")
    return axis, found


def compare(
    shards: Location,
    path: Path,
    variants: Sequence[Variant],
    *,
    seeds: int = 1,
    split: str = "test",
    overwrite: bool = False,
) -> Comparison:
    """Train what is missing in `PATH/VARIANT/seed-N`, score each run on `split`, and return the table.

    Runs that were stopped are continued, finished ones are not changed. The result is also written to
    `PATH/comparison.json`.

    Args:
        shards: that all train on.
        path: the folder of the runs.
        variants: of `make_variants`.
        seeds: number of seeds, from the configuration's own on.
        split: of the scores.
        overwrite: train all anew.

    Raises as `train`, and InputError for more than 1,000 runs.
    """
    if len(variants) * seeds > _MOST_RUNS:
        raise InputError(f"{len(variants) * seeds:,} runs are more than {_MOST_RUNS:,}")
    configs = {
        f"{variant.name}/{name}": config
        for variant in variants
        for name, config in seeded(variant.config, seeds).items()
    }
    return _compared(shards, path, variants, configs, overwrite=overwrite, resume=not overwrite, split=split)


def compare_ablation(
    shards: Location,
    path: Path,
    config: RunConfig,
    *,
    overwrite: bool = False,
    resume: bool = False,
    split: str = "test",
) -> Comparison:
    """Compare the paper's five variants, each in its own folder in `path`.

    The scores are also written to `PATH/ablation.json`, all figures to `PATH/comparison.json`. Raises as
    `train`.
    """
    variants = [
        Variant(name, {"steps": name}, replaced(config, "model", **steps)) for name, steps in ABLATION.items()
    ]
    configs = {variant.name: variant.config for variant in variants}
    result = _compared(shards, path, variants, configs, overwrite=overwrite, resume=resume, split=split)
    write_runs(path / "ablation.json", result.scored_runs())
    return result


def ablate(
    shards: Location,
    path: Path,
    config: RunConfig,
    *,
    overwrite: bool = False,
    resume: bool = False,
    split: str = "test",
) -> ScoredRuns:
    """Train the paper's five variants, and return their scores; files and errors as `compare_ablation`."""
    result = compare_ablation(shards, path, config, overwrite=overwrite, resume=resume, split=split)
    return result.scored_runs()


def _compared(
    shards: Location,
    path: Path,
    variants: Sequence[Variant],
    configs: dict[str, RunConfig],
    *,
    overwrite: bool,
    resume: bool,
    split: str,
) -> Comparison:
    """Train and score the runs of `configs`, by their folders in `path`, and write the comparison."""
    memory = _clip_memory(shards, variants)
    runs = train_each(shards, path, configs, overwrite=overwrite, resume=resume, split=split)
    return _write_comparison(path, variants, runs, memory, split)


def _clip_memory(shards: Location, variants: Sequence[Variant]) -> list[int]:
    """Return the bytes of a training step of each variant on one clip.

    Called before the training, so that a model that cannot be built is refused at once.
    """
    options = open_task(shards).model_options()
    models = [preset_config(one.config.preset, **{**options, **architecture(one.config)}) for one in variants]
    return [count_training_bytes(model) for model in models]


def _write_comparison(
    path: Path, variants: Sequence[Variant], runs: list[ScoredRun], memory: Sequence[int], split: str
) -> Comparison:
    """Write the comparison of `runs`, equally many of every variant, and of the `memory` of each."""
    seeds = len(runs) // len(variants)
    models = [
        ComparedModel.of(variant, runs[index * seeds : (index + 1) * seeds], clip_memory_bytes=size)
        for index, (variant, size) in enumerate(zip(variants, memory, strict=True))
    ]
    scored = read_evaluation(RunFolder(path / runs[0].run), f"evaluation-{split}.json")
    result = Comparison(
        preset=variants[0].config.preset,
        split=split,
        score_name=runs[0].score_name,
        axes=list(variants[0].choices),
        models=models,
        baselines={} if scored is None else scored.baselines,
    )
    if is_main_process():
        publish(path / COMPARISON, (strict_json(result.to_json(), indent=2) + "\n").encode())
    return result
