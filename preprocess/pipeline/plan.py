"""Plan of a run: everything that decides a byte of its output; and the comparison of two plans."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...errors import OtherSettingsError
from ...shards.additions import Addition
from ...shards.schema import DatasetInfo, fingerprint
from ..media.video import deciding_versions, fallback_decoders

FORMAT = "format_version"


def make_plan(info: DatasetInfo) -> dict[str, Any]:
    """Return everything that decides a byte of a directory, equal for all runs that work on it.

    The results in `info` (counts, statistics, files) are not used.
    """
    several = {"additions": list(map(_addition, info.additions))} if info.additions else {}
    return {
        **several,
        FORMAT: info.format_version,
        "collection": info.name,
        "task": info.task,
        "features": info.features,
        "classes": fingerprint(list(info.classes)),
        "vocabulary": fingerprint(info.vocabulary),
        "clips": info.plan_sha256,
        "versions": info.versions,
    }


def _addition(addition: Addition) -> dict[str, Any]:
    shards = {split: dataclasses.asdict(each) for split, each in addition.shards.items()}
    return {
        "plan_sha256": addition.plan_sha256,
        "clips_per_shard": addition.clips_per_shard,
        "shards": shards,
    }


def combined_hash(additions: Sequence[Addition]) -> str:
    """Return the hash of the planned clips of several additions."""
    return fingerprint([addition.plan_sha256 for addition in additions])


def without_own_version(plan: dict[str, Any]) -> dict[str, Any]:
    """Return `plan` without the version of this program."""
    return plan | {"versions": {name: v for name, v in plan["versions"].items() if name != "stgcma"}}


def has_other_fallbacks(existing: dict[str, Any], plan: dict[str, Any]) -> bool:
    """Tell whether two plans name different versions of a fallback decoder. An idle one may be unnamed."""
    there, here = (each.get("versions") or {} for each in (existing, plan))
    return any(there.get(name, here.get(name)) != here.get(name) for name in fallback_decoders())


def without_clips(plan: dict[str, Any]) -> dict[str, Any]:
    """Return `plan` without the clips, and without the classes and words to which they may add some."""
    left_out = {"clips", "additions", "classes", "vocabulary"}
    return {name: value for name, value in plan.items() if name not in left_out}


def without_idle_decoders(plan: dict[str, Any], used: set[str]) -> dict[str, Any]:
    """Return `plan` without the versions of fallback decoders that decoded nothing.

    used: the `decoder` of all clips that are written already.
    """
    versions = plan.get("versions")
    if not isinstance(versions, dict):
        return plan
    return plan | {"versions": deciding_versions(versions, used)}


_CHANGED = {
    "clips": "the list of clips or their labels changed (the option append adds new ones to a finished OUT)",
    "classes": "the names of the classes changed",
    "vocabulary": "the vocabulary changed",
    "features.subset": "it is a subset of another directory, which only `stgcma shards subset` writes",
}


def check_same(
    existing: dict[str, Any], wanted: dict[str, Any], decoders: Callable[[], set[str]], *, where: str
) -> None:
    """Raise OtherSettingsError, naming the differences, unless a directory was made by the plan `wanted`.

    Args:
        existing: plan of the directory.
        wanted: plan of this run.
        decoders: returns the `decoder` of the clips that are written already.
        where: the directory, for the message.
    """
    there, here = existing.get(FORMAT, 1), wanted[FORMAT]
    if there != here:
        raise OtherSettingsError(
            f"{where} holds shards of format version {there}, this stgcma makes version {here}, whose fbanks "
            "have other bytes; choose another OUT, or the option overwrite to start anew"
        )
    used = decoders() if has_other_fallbacks(existing, wanted) else set()
    existing, wanted = (without_idle_decoders(each, used) for each in (existing, wanted))
    if changed := list(differences(existing, wanted)):
        raise OtherSettingsError(
            f"{where} holds shards of another kind: {'; '.join(changed)}; "
            "choose another OUT, or the option overwrite to start anew"
        )


def differences(existing: Any, wanted: Any, where: str = "") -> Iterator[str]:
    """Yield one phrase for each setting in which two plans differ."""
    if isinstance(existing, dict) and isinstance(wanted, dict):
        for key in sorted(existing.keys() | wanted.keys()):
            yield from differences(existing.get(key), wanted.get(key), f"{where}.{key}" if where else key)
    elif existing != wanted:
        yield _CHANGED.get(where, f"{where} is {_said(existing)} there, {_said(wanted)} here")


def _said(value: Any) -> str:
    if value is None:
        return "not set"
    return "set" if isinstance(value, dict) else json.dumps(value, ensure_ascii=False)
