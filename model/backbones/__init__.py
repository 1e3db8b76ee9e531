"""The frozen transformers: one module a family, in it one record a published backbone."""

from __future__ import annotations

import difflib
from pathlib import Path

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
    """Return the record of the backbone `name`. Raises InputError naming the nearest, or all of them."""
    for _, family in FAMILIES.items():
        if isinstance(name, str) and name in family.records:
            return family.records[name]
    known = backbone_names()
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}"
    raise InputError(f"backbone {name!r} is not known; {hint}")


__all__ = ["FAMILIES", "backbone_names", "find_backbone"]
