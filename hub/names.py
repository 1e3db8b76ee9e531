"""Names of repositories on the Hub: `hf:ORG/NAME@REVISION`, `hf:datasets/ORG/NAME`, `hf:spaces/ORG/NAME`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..errors import InputError

Kind = Literal["model", "dataset", "space"]

PREFIX = "hf:"
_FOLDERS: dict[str, Kind] = {"datasets": "dataset", "spaces": "space"}
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?:(datasets|spaces)/)?({_PART}/{_PART})(?:@(\S+))?")
# A revision is part of paths in the cache.
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+/-]{0,199}")


@dataclass(frozen=True)
class HubName:
    """A repository on the Hub.

    Attributes:
        kind: of the repository; runs are models.
        repo: `ORG/NAME`.
        revision: a branch, a tag or a commit; None for the branch `main`.
    """

    kind: Kind
    repo: str
    revision: str | None = None

    def __post_init__(self) -> None:
        revision = self.revision
        if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
            raise InputError(f"the revision {revision!r} is not the name of a branch, a tag or a commit")

    def __str__(self) -> str:
        folder = "" if self.kind == "model" else f"{self.kind}s/"
        return f"{PREFIX}{folder}{self.repo}" + (f"@{self.revision}" if self.revision else "")

    def at(self, revision: str | None) -> HubName:
        """Return the name with `revision`. Raises InputError when it has another one already."""
        if revision is None or revision == self.revision:
            return self
        if self.revision is not None:
            raise InputError(f"{self} names a revision, and the option revision is {revision!r}; give one")
        return replace(self, revision=revision)

    def as_space(self) -> HubName:
        """Return the name of the Space of the same name. Raises InputError for a data set."""
        if self.kind == "dataset":
            raise InputError(f"{self} is a data set; a Space serves a run")
        return replace(self, kind="space")


def is_hub_name(location: str | Path) -> bool:
    """Tell whether `location` names a repository on the Hub."""
    return str(location).startswith(PREFIX)


def parse_name(text: str | Path) -> HubName:
    """Return the repository that `text` names. Raises InputError for anything else."""
    # A Path takes one of two slashes away.
    path = str(text).removeprefix(PREFIX).lstrip("/")
    match = _NAME.fullmatch(path)
    if not is_hub_name(text) or match is None or "--" in match[2] or ".." in match[2]:
        raise InputError(
            f"{str(text)!r} is not the name of a repository; write hf:ORG/NAME, hf:ORG/NAME@REVISION or "
            "hf:datasets/ORG/NAME"
        )
    return HubName(_FOLDERS.get(match[1], "model"), match[2], match[3])
