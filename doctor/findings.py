"""What a check says: a line, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How bad it is. Only a `PROBLEM` keeps the main job (preprocess, train, evaluate) from running."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what, e.g. `torch`.
        level: how it is.
        text: what was found, in one line.
        remedy: what to do; a warning or a problem has one.

    Raises ValueError when a warning or a problem comes without a remedy, or a line is more than one.
    """

    name: str
    level: Level
    text: str
    remedy: str | None = None

    def __post_init__(self) -> None:
        if self.level in (Level.WARNING, Level.PROBLEM) and not self.remedy:
            raise ValueError(f"{self.name}: a {self.level} needs a remedy")
        if "\n" in self.text + (self.remedy or ""):
            raise ValueError(f"{self.name}: a finding is one line, not {self.text!r}")

    def line(self) -> str:
        """For a person."""
        remedy = f" → {self.remedy}" if self.remedy else ""
        return f"  {self.level:<8} {self.name:<16} {self.text}{remedy}"

    def to_json(self) -> dict[str, Any]:
        """For a machine."""
        return asdict(self)
