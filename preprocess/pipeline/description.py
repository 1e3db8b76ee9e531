"""Description of an unfinished run of parts, from which the tables can be written without the raw folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...errors import InputError
from ...shards.schema import DatasetInfo
from .layout import Layout

DESCRIPTION_FILE = ".progress/description.json"


@dataclass(frozen=True)
class Description:
    """Content of `description.json`.

    Attributes:
        info: description of the directory without results; it records an only addition, too.
        finished: number of additions that were finished before.
        parts: number of parts into which the work was last divided.
    """

    info: DatasetInfo
    finished: int
    parts: int

    @classmethod
    def of_layout(cls, layout: Layout, parts: int) -> Description:
        """Return the description of a run that makes `layout`."""
        return cls(dataclasses.replace(layout.info, additions=layout.additions), layout.finished, parts)

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        return {"info": self.info.to_json(), "finished": self.finished, "parts": self.parts}

    @classmethod
    def from_json(cls, content: dict[str, Any], *, where: str) -> Description:
        """Read the output of `to_json`. Raises InputError naming `where` for other content."""
        finished, parts, info = (content.get(name) for name in ("finished", "parts", "info"))
        if not (isinstance(finished, int) and isinstance(parts, int) and isinstance(info, dict)):
            raise InputError(f"{where} is not the description of an unfinished run of parts")
        return cls(DatasetInfo.from_json(info, where=where), finished, parts)

    @property
    def final_info(self) -> DatasetInfo:
        """The description for the finished directory, which does not record an only addition."""
        additions = self.info.additions if len(self.info.additions) > 1 else ()
        return dataclasses.replace(self.info, additions=additions)

    def unfinished(self) -> Iterator[tuple[str, int]]:
        """Yield split and index of the planned shards of the additions that are not finished."""
        for addition in self.info.additions[self.finished :]:
            for split, shards in addition.shards.items():
                for index in range(shards.first, shards.end):
                    yield split, index
