"""Records that are read off timm's models, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import timm

from ..records import BackboneConfig

FRAME_SIDE = 224
"""Side of the frames in a shard, in pixels: backbones of other sizes are built for it where patches fit."""


class TimmRecords(Mapping[str, BackboneConfig]):
    """Records that are read from timm when they are asked for: listing the names builds nothing.

    Args:
        names: short names of backbones → timm's names.
        read: returns the record of a model by timm's name, None where it is of another family.
    """

    def __init__(self, names: Mapping[str, str], read: Callable[[str], BackboneConfig | None]) -> None:
        self._names, self._read = names, read

    def __getitem__(self, name: str) -> BackboneConfig:
        record = self._read(self._names[name])
        if record is None:
            raise KeyError(name)
        return record

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names


def published_facts(name: str) -> dict[str, Any]:
    """Return timm's full name, image mean and std of the published weights of its model `name`."""
    published = timm.get_pretrained_cfg(name)
    if published is None:
        return {"timm_name": name}
    return {
        "timm_name": ".".join(part for part in (published.architecture, published.tag) if part),
        "image_mean": published.mean,
        "image_std": published.std,
    }
