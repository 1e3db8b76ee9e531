"""Results of AVQA on a video: answers, the model's attention, and the position of the sound in the frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from ..figures import percent
from .results import Prediction


@dataclass(frozen=True)
class Step:
    """The attention of a question to one step of a window.

    Attributes:
        window: the index of the window.
        start: of the step, in seconds from the beginning of the video.
        end: likewise.
        seen: the share of the attention to frames; the shares of a window's steps add up to 1.
        heard: the share of the attention to sound, likewise.
    """

    window: int
    start: float
    end: float
    seen: float
    heard: float


@dataclass(frozen=True)
class Answer:
    """The answer to one question.

    Attributes:
        question: as it was asked.
        answer: the likeliest answer, by the mean of all windows.
        confidence: its share.
        rivals: the next answers with their shares, the likeliest first.
        unknown_words: words of the question that no training question has; they are read as padding.
        unread_words: words beyond the number that the model reads.
        by_window: the likeliest answer of each window, with its share.
        steps: the attention to every step of every window.
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
    """The answers to questions about a video.

    Attributes:
        answers: one for each question, in their order.
        grounding: for every step, in the order of `Answer.steps`, the shares of the sound at the cells of the
            frame: rows from the top, adding up to 1. They do not depend on the question.
    """

    answers: tuple[Answer, ...]
    grounding: tuple[tuple[tuple[float, ...], ...], ...]

    header: ClassVar = ("question", "answer", "confidence", "rival", "confidence")

    def findings(self) -> dict[str, Any]:
        def answered(name: str, confidence: float) -> dict[str, Any]:
            return {"answer": name, "confidence": confidence}

        return {
            "answers": [
                {"question": one.question}
                | answered(one.answer, one.confidence)
                | {
                    "rivals": [answered(*rival) for rival in one.rivals],
                    "unknown_words": one.unknown_words,
                    "unread_words": one.unread_words,
                    "by_window": [answered(*window) for window in one.by_window],
                    "steps": [asdict(step) for step in one.steps],
                }
                for one in self.answers
            ],
            "grounding": self.grounding,
        }

    def headline(self) -> str:
        return "; ".join(f"{one.answer} ({percent(one.confidence)})" for one in self.answers)

    def rows(self) -> Sequence[tuple[str, ...]]:
        return [
            (one.question, one.answer, percent(one.confidence))
            + ((one.rivals[0][0], percent(one.rivals[0][1])) if one.rivals else ("", ""))
            for one in self.answers
        ]
