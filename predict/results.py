"""Results of a run on videos: the parts that all tasks share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

_DIGITS = 6


@dataclass(frozen=True)
class Prediction(ABC):
    """The result of a run on one video.

    Attributes:
        header: the titles of `rows`.
        video: the file.
        length_seconds: its length.
        warnings: about the video, one line each.
        files: the result files that were written.
    """

    video: Path
    length_seconds: float
    warnings: tuple[str, ...]
    files: tuple[Path, ...]

    header: ClassVar[tuple[str, ...]]

    def to_json(self) -> dict[str, Any]:
        """Return the result for JSON, without `files`; shares and seconds have six digits."""
        about = {
            "video": str(self.video),
            "length_seconds": self.length_seconds,
            "warnings": self.warnings,
        }
        return _rounded({**about, **self.findings()})  # type: ignore[no-any-return]

    @abstractmethod
    def findings(self) -> dict[str, Any]:
        """Return the task's part of `to_json`."""

    @abstractmethod
    def rows(self) -> Sequence[tuple[str, ...]]:
        """Return a summary for people, as rows of a table under `header`."""

    def headline(self) -> str:
        """Return the result in a few words; by default the first of `rows`."""
        return " · ".join(filter(None, self.rows()[0]))


@dataclass(frozen=True)
class Failure:
    """A video that could not be used.

    Attributes:
        video: the file, or a folder without videos.
        reason: a code, as in quarantines.
        message: one line.
    """

    video: Path
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.video}: {self.reason}: {self.message}"


@dataclass(frozen=True)
class Predictions:
    """The results of a run on several videos.

    Attributes:
        run: the folder of the run or checkpoint.
        task: its task's name.
        videos: the results, in the order of the videos.
        failures: the videos that could not be used.
        warnings: about the questions, one line each.
        files: written for all videos together, such as a table of annotations.
    """

    run: Path
    task: str
    videos: tuple[Prediction, ...]
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]
    files: tuple[Path, ...] = ()

    def rows(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return titles and rows of one table of all videos.

        A video is called by its file's name, or by its path when several have the same name.
        """
        header = ("video", *self.videos[0].header) if self.videos else ()
        names = Counter(one.video.name for one in self.videos)
        return header, [
            (one.video.name if names[one.video.name] == 1 else str(one.video), *row)
            for one in self.videos
            for row in one.rows()
        ]

    def to_json(self) -> dict[str, Any]:
        """Return all results for JSON."""
        return {
            "run": str(self.run),
            "task": self.task,
            "warnings": list(self.warnings),
            "files": [str(path) for path in self.files],
            "videos": [one.to_json() | {"files": [str(path) for path in one.files]} for one in self.videos],
            "failures": [
                {"video": str(one.video), "reason": one.reason, "message": one.message}
                for one in self.failures
            ],
        }


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return the first `most` of `names` without repetitions as text, and the number of the others.

    >>> listed(["dog", "cat", "dog", "bell", "train"])
    'dog, cat, bell and 1 more'
    """
    different = list(dict.fromkeys(names))
    rest = len(different) - most
    return ", ".join(different[:most]) + (f" and {rest} more" if rest > 0 else "")


def _rounded(content: Any) -> Any:
    """Return a structure of dicts and sequences with all floats rounded to six digits."""
    if isinstance(content, float):
        return round(content, _DIGITS)
    if isinstance(content, dict):
        return {name: _rounded(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_rounded(value) for value in content]
    return content
