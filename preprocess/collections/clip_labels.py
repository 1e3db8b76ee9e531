"""Labels of whole clips as the member `tags.npy` and as fields, shared by clips with the same labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .arrays import npy_bytes

Labels = tuple[str, ...]


class LabelSets:
    """Members and fields for sets of labels. Each is made once: a million clips have few different ones."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._index = {name: index for index, name in enumerate(classes)}
        self._members: dict[Labels, tuple[tuple[str, bytes], ...]] = {}
        self._fields: dict[Labels, Mapping[str, Any]] = {}

    def members(self, labels: Labels) -> tuple[tuple[str, bytes], ...]:
        """Return the member `tags.npy`: uint8 `[classes]`, 1 for the classes in `labels`."""
        if labels not in self._members:
            tags = np.zeros(len(self._index), dtype=np.uint8)
            tags[[self._index[name] for name in labels]] = 1
            self._members[labels] = (("tags.npy", npy_bytes(tags)),)
        return self._members[labels]

    def fields(self, labels: Labels, *, several: bool = False) -> Mapping[str, Any]:
        """Return the fields of `KEY.json`: `category`, or where clips have several labels, `categories`."""
        if labels not in self._fields:
            self._fields[labels] = {"categories": list(labels)} if several else {"category": labels[0]}
        return self._fields[labels]
