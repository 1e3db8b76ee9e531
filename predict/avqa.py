"""AVQA on a video: answers, and what they were taken from: which seconds, and which pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..preprocess.samples.whole_video import DecodedVideo
from .answer_picture import ShownWindow, draw_answers, shown_windows
from .questions import AskedQuestion
from .results import Answer, AvqaPrediction, Step
from .strip import open_frame
from .trained import TrainedRun, ranked

_NEAREST = 6  # the answer and its five rivals

Shares = npt.NDArray[np.floating[Any]]


@dataclass
class _Window:
    """What the model made of a window: of every question and step, and of every step the grounding."""

    answers: Shares  # [Q, answers]
    seen: Shares  # [Q, T]
    heard: Shares  # [Q, T]
    grounding: Shares  # [T, rows, columns]


@dataclass
class AvqaPredictor:
    """Takes the windows of one video in turn."""

    run: TrainedRun
    video: Path
    decoded: DecodedVideo
    asked: Sequence[AskedQuestion]
    names: Sequence[str]
    _windows: list[_Window] = field(default_factory=list)
    _shown: list[ShownWindow] = field(default_factory=list)

    def add(self, members: dict[str, bytes]) -> None:
        """The next window."""
        made = self.run(members, torch.tensor([question.ids for question in self.asked]))
        grounding = made["grounding"].numpy()
        side = math.isqrt(grounding.shape[-1])
        window = _Window(
            made["answer_logits"].softmax(-1).numpy(),
            made["attention_video"].numpy(),
            made["attention_audio"].numpy(),
            grounding.reshape(len(grounding), side, -1),
        )
        place = len(self._windows)
        self._windows.append(window)
        if place in shown_windows(len(self.decoded.windows)):
            spans = self.decoded.windows[place].steps
            frames = [open_frame(members, step) for step in range(len(spans))]
            sounds = [self.run.sound(self.decoded, span) for span in spans]
            size = (self.decoded.width, self.decoded.height)
            self._shown.append(ShownWindow.of(place, spans, frames, sounds, window.grounding, size))

    def finish(self, folder: Path | None, name: str) -> AvqaPrediction:
        """The result; with `folder`, its files are written there."""
        answers = tuple(self._answer(place, question) for place, question in enumerate(self.asked))
        result = AvqaPrediction(
            video=self.video,
            length_seconds=self.decoded.seconds,
            warnings=self.decoded.warnings,
            files=(),
            answers=answers,
            grounding=tuple(
                tuple(tuple(map(float, row)) for row in step)
                for window in self._windows
                for step in window.grounding
            ),
        )
        if folder is not None:
            beneath = self.run.caption(self.decoded)
            picture = draw_answers(
                self._shown, answers, len(self._windows), title=self.video.name, beneath=beneath
            )
            (folder / f"{name}.answers.png").write_bytes(picture)
        return result

    def _answer(self, place: int, question: AskedQuestion) -> Answer:
        shares = np.mean([window.answers[place] for window in self._windows], axis=0)
        (answer, confidence), *rivals = ranked(shares, self.names, _NEAREST)
        return Answer(
            question=question.text,
            answer=answer,
            confidence=confidence,
            rivals=tuple(rivals),
            unknown_words=question.unknown,
            unread_words=question.unread,
            by_window=tuple(ranked(window.answers[place], self.names, 1)[0] for window in self._windows),
            steps=tuple(
                Step(number, *span, float(seen), float(heard))
                for number, (window, planned) in enumerate(
                    zip(self._windows, self.decoded.windows, strict=True)
                )
                for span, seen, heard in zip(
                    planned.steps, window.seen[place], window.heard[place], strict=True
                )
            ),
        )
