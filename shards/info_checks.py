"""Check of the types of the fields of `dataset.json`."""

from __future__ import annotations

import math
from typing import Any

from .additions import additions_fault
from .task_members import TASK_MEMBERS

_MOST_FRAMES = 1000
_MOST_BINS = 100_000
_SPLITS = ("train", "val", "test")  # those of `schema`, which imports this module
_TEXTS = ("name", "task", "plan_sha256")


def info_fault(content: dict[str, Any]) -> str | None:
    """Return the fault in the fields of `DatasetInfo` in `content`; None when there is none."""
    for name in _TEXTS:
        if not isinstance(content[name], str):
            return _expected(name, content[name], "text")
    if not _is_texts(content["classes"]):
        return _expected("classes", content["classes"], "a list of texts")
    for name in ("versions", "files"):
        if not (isinstance(content[name], dict) and _is_texts(list(content[name].values()))):
            return _expected(name, content[name], "texts by name")
    vocabulary = content["vocabulary"]
    if not (isinstance(vocabulary, dict) and all(map(_is_texts, vocabulary.values()))):
        return _expected("vocabulary", vocabulary, "lists of texts by name")
    task = content["task"]
    needed = TASK_MEMBERS[task].vocabulary if task in TASK_MEMBERS else ()
    if not set(needed) <= vocabulary.keys():
        return f"vocabulary: lacks {' or '.join(needed)}, which {task} needs"
    return (
        _counts_fault(content["counts"])
        or _audio_fault(content["audio"])
        or _features_fault(content["features"])
        or additions_fault(content["additions"], _SPLITS)
    )


def _is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


def _expected(name: str, value: Any, wanted: str) -> str:
    return f"{name} is {type(value).__name__} {str(value)[:40]!r}, expected {wanted}"


def _counts_fault(counts: Any) -> str | None:
    if not isinstance(counts, dict) or not all(isinstance(each, dict) for each in counts.values()):
        return _expected("counts", counts, "written and quarantined by split")
    for split, count in counts.items():
        for name in ("written", "quarantined"):
            if not _is_count(count.get(name), 0, 1 << 40):
                return _expected(f"counts.{split}.{name}", count.get(name), "a number of clips")
    return None


def _audio_fault(audio: Any) -> str | None:
    if not isinstance(audio, dict):
        return _expected("audio", audio, "mean and std by fbank")
    for fbank, measured in audio.items():
        if not isinstance(measured, dict) or measured.keys() != {"mean", "std"}:
            return _expected(f"audio.{fbank}", measured, "mean and std")
        for name, value in measured.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                return _expected(f"audio.{fbank}.{name}", value, "a number")
    return None


def _features_fault(features: Any) -> str | None:
    if not isinstance(features, dict):
        return _expected("features", features, "settings")
    sampling, fbanks = features.get("sampling"), features.get("fbanks")
    if not isinstance(sampling, dict) or not isinstance(fbanks, dict):
        return "features: lacks sampling or fbanks"
    for name in ("frames", "windows"):
        if not _is_count(sampling.get(name), 1, _MOST_FRAMES):
            return _expected(f"features.sampling.{name}", sampling.get(name), f"1 to {_MOST_FRAMES}")
    for kind, fbank in fbanks.items():
        if fault := fbank_fault(f"features.fbanks.{kind}", fbank):
            return fault
    return None


def fbank_fault(where: str, fbank: Any) -> str | None:
    """Return the fault in the description `fbank` of a kind of fbank; None when there is none."""
    for name in ("mel_bins", "target_frames"):
        value = fbank.get(name) if isinstance(fbank, dict) else None
        if not _is_count(value, 1, _MOST_BINS):
            return _expected(f"{where}.{name}", value, f"1 to {_MOST_BINS}")
    return None


def _is_count(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
