"""The record of the settings that `stgcma demo` needs for a collection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Settings of `stgcma demo` on a synthetic collection.

    Attributes:
        preset: the training preset, such as `ave-demo`.
        clips: number of clips; enough for a score well above the baselines.
        compared_with: modalities that `--compare` trains as well.
        question: an example for `stgcma predict --question`.
    """

    preset: str
    clips: int
    compared_with: tuple[str, ...]
    question: str = ""
