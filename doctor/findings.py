"""Findings: the results of checks, each with a line and a remedy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """Severity of a finding. Only a `PROBLEM` prevents preprocess, train or evaluate from running."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: the object of the check, e.g. `torch`.
        level: the severity.
        text: the result in one line.
        remedy: a fix in one line; required for warnings and problems.

    Raises ValueError for a warning or a problem without a remedy, and for text of several lines.
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
        """Return the finding as a line of text."""
        remedy = f" → {self.remedy}" if self.remedy else ""
        return f"  {self.level:<8} {self.name:<16} {self.text}{remedy}"

    def to_json(self) -> dict[str, Any]:
        """Return the finding as a JSON object."""
        return asdict(self)
