"""The frozen transformers: one module a family, in it one record a published backbone."""

from __future__ import annotations

import difflib
from pathlib import Path

import timm

from ...errors import InputError
from ...registry import Registry
from ..records import BackboneConfig, Family

FAMILIES: Registry[Family] = Registry(
    __name__, Path(__file__).parent, attribute="FAMILY", noun="backbone family"
)
"""The families by name, such as `clip`."""


def backbone_names() -> tuple[str, ...]:
    """Return the names of all backbones, such as `clip-b16`."""
    return tuple(name for _, family in FAMILIES.items() for name in family.records)


def find_backbone(name: str) -> BackboneConfig:
    """Return the record of the backbone `name`, which may be timm's name of a model of some families.

    Raises InputError naming the nearest, or all of them.
    """
    families = [family for _, family in FAMILIES.items()] if isinstance(name, str) else []
    for family in families:
        if name in family.records:
            return family.records[name]
    for family in families:
        if family.read is not None and (record := family.read(name)) is not None:
            return record
    if isinstance(name, str) and timm.is_model(name):
        able = ", ".join(family.config.family for family in families if family.read is not None)
        raise InputError(f"backbone {name!r} is a timm model of another kind; expected one of: {able}")
    known = backbone_names()
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}"
    raise InputError(f"backbone {name!r} is not known; {hint}")


def backbone_rows() -> list[tuple[str, ...]]:
    """Return a row for each backbone: name, family, timm's name, width, depths, heads, patch."""
    rows: list[tuple[str, ...]] = []
    for name in backbone_names():
        record = find_backbone(name)
        sizes = ("-".join(map(str, record.depths)), "-".join(map(str, record.heads)), str(record.patch))
        rows.append((name, record.family, record.timm_name or "", str(record.width), *sizes))
    return rows


__all__ = ["FAMILIES", "backbone_names", "backbone_rows", "find_backbone"]
