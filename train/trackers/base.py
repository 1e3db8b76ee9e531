"""The interface of a tracker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from ...errors import InputError
from ...figures import open_drawn

FOLDER = "trackers"
"""Name of the folder in a run folder with local files of trackers and the identities of tracked runs."""
PROJECT = "stgcma"
"""Name of the project, or experiment, that runs belong to where the user names none."""


@dataclass(frozen=True)
class TrackedRun:
    """The run as a tracker sees it.

    Attributes:
        name: of the run's folder.
        folder: the run's folder; trackers keep local files in `local`.
        config: the resolved configuration, in sections, without paths of this machine and credentials.
        step: the last step of the saved state, 0 for a new run.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    step: int

    @property
    def local(self) -> Path:
        """Folder of the trackers' own files."""
        return self.folder / FOLDER


@dataclass(frozen=True)
class Scalars:
    """Numbers of one step, such as `train/loss`; all names have the same first part."""

    step: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Pictures:
    """Pictures of clips after one step: the clips' keys, and PNG files in memory."""

    step: int
    images: Mapping[str, bytes]


Entry = Scalars | Pictures


def log_by_step(
    log: Callable[[dict[str, Any], int], None], entries: Sequence[Entry], image: Callable[..., Any]
) -> None:
    """Log entries with the interface of W&B: `log` values of a step; `image` is the class of pictures."""
    for entry in entries:
        if isinstance(entry, Scalars):
            log(dict(entry.values), entry.step)
            continue
        pictures = {
            f"predictions/{key}": image(open_drawn(content), caption=key)
            for key, content in entry.images.items()
        }
        log(pictures, entry.step)


class Tracker(ABC):
    """One tracker of one run. Errors of any kind may be raised: they end the tracker, not the training.

    Attributes:
        package: that must be installed.
        how: to install it.
        background: its calls may take long, and are made in a thread of its own.
        follows: it gets the metrics of the machine and pictures, not only losses and scores.
    """

    package: ClassVar[str]
    how: ClassVar[str]
    background: ClassVar[bool] = True
    follows: ClassVar[bool] = True

    @classmethod
    def check_installed(cls, name: str) -> None:
        """Raise InputError that says how the package of tracker `name` is installed, if it is missing."""
        if find_spec(cls.package) is None:
            raise InputError(f"tracker {name} needs {cls.package}; {cls.how}")

    @abstractmethod
    def start(self, run: TrackedRun, identity: str | None) -> str | None:
        """Begin to track a run, or continue the tracked run `identity`; return the run's identity."""

    @abstractmethod
    def log(self, entries: Sequence[Entry]) -> None:
        """Send entries, in order."""

    @abstractmethod
    def close(self, *, finished: bool) -> None:
        """End the tracked run; `finished` is False where it may be resumed."""
