"""The files of the training presets: settings on top of another file's, and facts about the preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError

_FOLDER = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class PublishedResult:
    """A published score of a preset.

    Attributes:
        collection: it was measured on the test split of this one.
        metric: the task's score, such as `accuracy` or `miou`.
        score: a share.
        ablation: shares with some steps of the adapters only, by the names of `comparison.ABLATION`.
    """

    collection: str
    metric: str
    score: float
    ablation: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, score in {"score": self.score, **self.ablation}.items():
            if isinstance(score, bool) or not isinstance(score, float) or not 0 <= score <= 1:
                raise ValueError(f"published.{name} is {score!r}, expected a share of 1")


@dataclass(frozen=True)
class PresetFile:
    """A preset's file, with the files that it extends.

    Attributes:
        settings: the sections of `RunConfig`, and `task`.
        deviates: how the settings differ from the paper's Table 9; empty where they do not.
        rates_by_adapter: the preset's `optim.adapter_lr` gives way to an adapter's recommended rate.
        published: the published score; None where there is none.
    """

    settings: dict[str, Any]
    deviates: str = ""
    rates_by_adapter: bool = False
    published: PublishedResult | None = None


def preset_names() -> list[str]:
    """Return the presets that can be trained, sorted. Files that begin with `_` are only extended."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml") if not path.name.startswith("_"))


def read_preset(name: str, *, folder: Path = _FOLDER) -> PresetFile:
    """Read the file of a preset and the files that it extends; its settings replace theirs one by one.

    Raises InputError when a file extends one that is missing, or itself.
    """
    content = _read_file(name, folder=folder, preset=name, chain=())
    published = content.pop("published", None)
    return PresetFile(
        deviates=content.pop("deviates", ""),
        rates_by_adapter=content.pop("rates_by_adapter", False),
        published=None if published is None else PublishedResult(**published),
        settings=content,
    )


def _read_file(name: str, *, folder: Path, preset: str, chain: tuple[str, ...]) -> dict[str, Any]:
    """Return the content of a file over that of the files that it extends, of which later ones win."""
    path = folder / f"{name}.yaml"
    if name in chain or not path.is_file():
        fault = "extends itself" if name in chain else f"extends {name}, which is missing"
        raise InputError(f"preset {preset} {fault}")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    bases = content.pop("extends", [])
    merged: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        merged = merge(merged, _read_file(base, folder=folder, preset=preset, chain=(*chain, name)))
    return merge(merged, content)


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes`; where both have a section of settings, it is merged likewise."""
    merged = dict(base)
    for name, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = merge(merged[name], value) if both else value
    return merged
