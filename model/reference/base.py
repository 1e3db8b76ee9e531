"""The layout of a released checkpoint, and the parts that the families share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...errors import InputError
from ..config import ModelConfig

MODALITY_SUFFIXES = {"video": "", "audio": "_Audio"}
TABLE_SUFFIXES = {"video": "", "audio": "_audio"}


@dataclass(frozen=True, kw_only=True)
class Release:
    """The layout of one family's checkpoints in the authors' release.

    Attributes:
        marker: an entry that all of the family's checkpoints have, and no others.
        steps: STG-CMA's steps → the release's names of their adapters.
        read: reads the options of the backbone, and the adapter ratio, off a checkpoint, as
            `read(entries, heads, audio_shape)`; the last two may be None.
        names: the release's names → ours, of the encoder's entries.
    """

    marker: str
    steps: Mapping[str, str]
    read: Callable[[Mapping[str, Tensor], int | None, tuple[int, int] | None], dict[str, Any]]
    names: Callable[[ModelConfig], dict[str, str]]


def block_names(config: ModelConfig, theirs: str, ours: str, steps: Mapping[str, str]) -> dict[str, str]:
    """Return the names of one block's adapters and gates, under the prefixes `theirs` and `ours`."""
    adapter: Any = config.adapter
    names = {}
    for modality in config.modalities:
        for step, released in steps.items():
            if not getattr(adapter, step):
                continue
            for layer in ("fc1", "fc2"):
                for leaf in ("weight", "bias"):
                    source = f"{theirs}{released}{MODALITY_SUFFIXES[modality]}.D_{layer}.{leaf}"
                    names[source] = f"{ours}{step}.{modality}.{layer}.{leaf}"
    if config.fused and (adapter.spatial or adapter.global_):
        names[f"{theirs}gate_v"] = f"{ours}gates.video"
        names[f"{theirs}gate_a"] = f"{ours}gates.audio"
    return names


def adapter_ratios(entries: Mapping[str, Tensor], block: str, widths: Sequence[int]) -> tuple[float, ...]:
    """Return for each width the smallest ratio with `int(width·ratio)` equal to the bottleneck found.

    Without any adapter nothing has a bottleneck; the ratio is then 1.
    """
    pattern = re.compile(block + r"\w*Adapter\w*\.D_fc1\.weight")
    hidden = [len(t) for name, t in entries.items() if pattern.fullmatch(name)]
    if not hidden:
        return (1.0,) * len(widths)
    ratios = [hidden[0] / width for width in widths]
    return tuple(
        ratio if int(width * ratio) == hidden[0] else math.nextafter(ratio, math.inf)
        for width, ratio in zip(widths, ratios, strict=True)
    )


def count(entries: Mapping[str, Tensor], pattern: str) -> int:
    """Return one more than the largest number that the group of `pattern` matches in the names."""
    found = [int(match[1]) for name in entries if (match := re.match(pattern, name))]
    if not found:
        raise InputError(f"no entry like {pattern}; expected a checkpoint of the release")
    return max(found) + 1
