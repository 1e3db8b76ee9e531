"""AVQA on a video: answers to questions, the model's attention, and the position of the sound."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..errors import InputError
from ..preprocess.collections.questions import question_line
from .avqa_picture import ShownWindow, draw_answers, shown_windows
from .avqa_result import Answer, AvqaPrediction, Step
from .predictor import Predictor, ShownFile, VideoInput, open_frame, rank_classes
from .questions import EncodedQuestion, encode_questions
from .trained import TrainedRun

_NEAREST = 6  # the answer and its five rivals

Shares = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class _WindowOutputs:
    """The model's outputs for a window, of Q questions and T steps.

    Attributes:
        answers: `[Q, answers]`.
        seen: attention to frames `[Q, T]`.
        heard: attention to sound `[Q, T]`.
        grounding: position of the sound `[T, rows, columns]`.
    """

    answers: Shares
    seen: Shares
    heard: Shares
    grounding: Shares


class AvqaPredictor(Predictor[AvqaPrediction]):
    """Answer questions about one video.

    Writes `NAME.answers.png`, and `NAME.questions.jsonl` in the format of the collection `questions`.
    """

    shown = (ShownFile(".answers.png", "The answers, and the attended seconds and pixels of the video"),)

    def __init__(self, run: TrainedRun, video: VideoInput) -> None:
        super().__init__(run, video)
        self._names: Sequence[str] = run.task.info.vocabulary["answers"]
        self._ids = torch.tensor([question.ids for question in video.questions])
        self._windows: list[_WindowOutputs] = []
        self._shown: list[ShownWindow] = []

    @classmethod
    def encode_questions(cls, run: TrainedRun, texts: Sequence[str]) -> tuple[EncodedQuestion, ...]:
        if not texts:
            raise InputError(
                f"RUN {run.path} answers questions: ask at least one, e.g. 'Is there a violin sound?'"
            )
        words = run.task.info.vocabulary["words"]
        return encode_questions(texts, {word: index for index, word in enumerate(words)})

    @classmethod
    def question_words(cls, run: TrainedRun) -> tuple[str, ...]:
        return tuple(sorted(word for word in run.task.info.vocabulary["words"] if word.isalpha()))

    def add(self, members: dict[str, bytes]) -> None:
        outputs = self.run(members, self._ids)
        grounding = outputs["grounding"][0].numpy()
        side = math.isqrt(grounding.shape[-1])
        window = _WindowOutputs(
            answers=outputs["answer_logits"].softmax(-1).numpy(),
            seen=outputs["attention_video"].numpy(),
            heard=outputs["attention_audio"].numpy(),
            grounding=grounding.reshape(len(grounding), side, -1),
        )
        index = len(self._windows)
        self._windows.append(window)
        decoded = self.video.decoded
        if index in shown_windows(len(decoded.windows)):
            spans = decoded.windows[index].steps
            frames = [open_frame(members, step) for step in range(len(spans))]
            sounds = [self.run.sound(decoded, span) for span in spans]
            size = (decoded.width, decoded.height)
            self._shown.append(ShownWindow.of(index, spans, frames, sounds, window.grounding, size))

    def result(self) -> AvqaPrediction:
        return AvqaPrediction(
            video=self.video.path,
            length_seconds=self.video.decoded.seconds,
            warnings=self.video.decoded.warnings,
            files=(),
            answers=tuple(self._answer(row, question) for row, question in enumerate(self.video.questions)),
            grounding=tuple(
                tuple(tuple(map(float, row)) for row in step)
                for window in self._windows
                for step in window.grounding
            ),
        )

    def _answer(self, row: int, question: EncodedQuestion) -> Answer:
        shares = np.mean([window.answers[row] for window in self._windows], axis=0)
        (answer, confidence), *rivals = rank_classes(shares, self._names, _NEAREST)
        return Answer(
            question=question.text,
            answer=answer,
            confidence=confidence,
            rivals=tuple(rivals),
            unknown_words=question.unknown,
            unread_words=question.unread,
            by_window=tuple(rank_classes(one.answers[row], self._names, 1)[0] for one in self._windows),
            steps=tuple(
                Step(index, *span, float(seen), float(heard))
                for index, (outputs, window) in enumerate(
                    zip(self._windows, self.video.decoded.windows, strict=True)
                )
                for span, seen, heard in zip(window.steps, outputs.seen[row], outputs.heard[row], strict=True)
            ),
        )

    def write(self, result: AvqaPrediction, folder: Path, on_seconds: Callable[[float], None]) -> None:  # noqa: ARG002
        picture = draw_answers(
            self._shown,
            result.answers,
            len(self._windows),
            title=self.video.path.name,
            caption=self.caption(),
        )
        (folder / f"{self.video.name}.answers.png").write_bytes(picture)
        lines = [
            question_line(video=self.video.filename, question=one.question, answer=one.answer)
            for one in result.answers
        ]
        (folder / f"{self.video.name}.questions.jsonl").write_text("".join(lines), encoding="utf-8")


PREDICTOR = AvqaPredictor
