"""What a run says of videos."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from .digits import clock, percent, rounded


@dataclass(frozen=True)
class Prediction(ABC):
    """What a run says of one video.

    Attributes:
        header: the titles of `rows`.
        video: the file.
        length_seconds: how long it is.
        warnings: what one should know of it, one line each.
        files: what was written of it.
    """

    video: Path
    length_seconds: float
    warnings: tuple[str, ...]
    files: tuple[Path, ...]

    header: ClassVar[tuple[str, ...]]

    def to_json(self) -> dict[str, Any]:
        """For machines; shares and seconds with six digits."""
        about = {
            "video": str(self.video),
            "length_seconds": self.length_seconds,
            "warnings": self.warnings,
        }
        return rounded({**about, **self.findings()})  # type: ignore[no-any-return]

    @abstractmethod
    def findings(self) -> dict[str, Any]:
        """What `to_json` says beside what is said of every video."""

    @abstractmethod
    def rows(self) -> Sequence[tuple[str, ...]]:
        """The gist of it for a person, as rows of a table under `header`."""


@dataclass(frozen=True)
class Second:
    """What happens from `start` to `end` (seconds), how sure that is, and the likeliest classes."""

    start: float
    end: float
    name: str
    confidence: float
    background: bool
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Event:
    """Successive seconds of one class that is not the background; the confidence is their mean."""

    start: float
    end: float
    name: str
    confidence: float


@dataclass(frozen=True)
class AvePrediction(Prediction):
    """What happens when."""

    seconds: tuple[Second, ...]
    events: tuple[Event, ...]

    header: ClassVar = ("from", "to", "event", "confidence")

    def findings(self) -> dict[str, Any]:
        def said(name: str, confidence: float) -> dict[str, Any]:
            return {"class": name, "confidence": confidence}

        return {
            "seconds": [
                {"start": one.start, "end": one.end}
                | said(one.name, one.confidence)
                | {"background": one.background, "top": [said(*likely) for likely in one.top]}
                for one in self.seconds
            ],
            "events": [
                {"start": one.start, "end": one.end} | said(one.name, one.confidence) for one in self.events
            ],
        }

    def rows(self) -> Sequence[tuple[str, ...]]:
        found = [(clock(one.start), clock(one.end), one.name, percent(one.confidence)) for one in self.events]
        return found or [(clock(0), clock(self.length_seconds), "no event", "")]


@dataclass(frozen=True)
class MaskedSecond:
    """`share` of the pixels sound from `start` to `end`; `mask` is the file that says which, if written."""

    start: float
    end: float
    share: float
    mask: str | None


@dataclass(frozen=True)
class AvsPrediction(Prediction):
    """Which pixels sound."""

    width: int
    height: int
    seconds: tuple[MaskedSecond, ...]

    header: ClassVar = ("seconds", "sounding pixels, mean", "least", "most")

    def findings(self) -> dict[str, Any]:
        return {
            "width": self.width,
            "height": self.height,
            "seconds": [asdict(one) for one in self.seconds],
        }

    def rows(self) -> Sequence[tuple[str, ...]]:
        shares = [one.share for one in self.seconds]
        told = (sum(shares) / len(shares), min(shares), max(shares))
        return [(str(len(shares)), *map(percent, told))]


@dataclass(frozen=True)
class Step:
    """How much of its attention a question gave to what is seen and heard from `start` to `end`.

    The shares of a window's steps add up to 1, each kind for itself.
    """

    window: int
    start: float
    end: float
    seen: float
    heard: float


@dataclass(frozen=True)
class Answer:
    """The answer to a question, likely by `confidence`, its nearest rivals, and what it was taken from.

    Attributes:
        unknown_words: words of the question that training never met; they were read as nothing.
        unread_words: words beyond those that the model reads.
        by_window: the likeliest answer of each window by itself; the answer is that of their mean.
    """

    question: str
    answer: str
    confidence: float
    rivals: tuple[tuple[str, float], ...]
    unknown_words: tuple[str, ...]
    unread_words: tuple[str, ...]
    by_window: tuple[tuple[str, float], ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class AvqaPrediction(Prediction):
    """Answers to questions.

    Attributes:
        grounding: for every step of every window, in the order of `Answer.steps`, how much of the sound was
            placed at each cell of the frame: rows from the top, adding up to 1. It is the same for all
            questions.
    """

    answers: tuple[Answer, ...]
    grounding: tuple[tuple[tuple[float, ...], ...], ...]

    header: ClassVar = ("question", "answer", "confidence", "rival", "confidence")

    def findings(self) -> dict[str, Any]:
        def said(name: str, confidence: float) -> dict[str, Any]:
            return {"answer": name, "confidence": confidence}

        return {
            "answers": [
                {"question": one.question}
                | said(one.answer, one.confidence)
                | {
                    "rivals": [said(*rival) for rival in one.rivals],
                    "unknown_words": one.unknown_words,
                    "unread_words": one.unread_words,
                    "by_window": [said(*window) for window in one.by_window],
                    "steps": [asdict(step) for step in one.steps],
                }
                for one in self.answers
            ],
            "grounding": self.grounding,
        }

    def rows(self) -> Sequence[tuple[str, ...]]:
        return [
            (one.question, one.answer, percent(one.confidence))
            + ((one.rivals[0][0], percent(one.rivals[0][1])) if one.rivals else ("", ""))
            for one in self.answers
        ]


@dataclass(frozen=True)
class Failure:
    """A video that could not be used: `reason` as in quarantines, and one line that says more."""

    video: Path
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.video}: {self.reason}: {self.message}"


@dataclass(frozen=True)
class Predictions:
    """What a run says of all videos, in order, which could not be used, and warnings about the questions."""

    run: Path
    task: str
    videos: tuple[Prediction, ...]
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]

    def rows(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """The titles and rows of one table of all videos; those that share a name are told by their paths."""
        header = ("video", *self.videos[0].header) if self.videos else ()
        names = Counter(one.video.name for one in self.videos)
        return header, [
            (one.video.name if names[one.video.name] == 1 else str(one.video), *row)
            for one in self.videos
            for row in one.rows()
        ]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "run": str(self.run),
            "task": self.task,
            "warnings": list(self.warnings),
            "videos": [one.to_json() | {"files": [str(path) for path in one.files]} for one in self.videos],
            "failures": [
                {"video": str(one.video), "reason": one.reason, "message": one.message}
                for one in self.failures
            ],
        }
