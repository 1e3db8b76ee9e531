"""AVQA: the answer to a question; cross-entropy with a match loss, and accuracy by nine types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...errors import StgcmaError
from ...model.inputs import word_ids
from ...shards.members import member, read_questions
from ...shards.schema import QUESTION_TYPES, DatasetInfo
from ..config import LossConfig
from ..order import ALL_QUESTIONS
from .base import Meter, Task, Tensors, Terms, share

UNKNOWN_ANSWER = -1


class AvqaTask(Task):
    """What the answer to a question is."""

    name = "avqa"
    score_name = "accuracy"

    def __init__(self, info: DatasetInfo) -> None:
        super().__init__(info)
        self.words = {word: index for index, word in enumerate(info.vocabulary["words"])}
        self.answers = {answer: index for index, answer in enumerate(info.vocabulary["answers"])}

    def model_options(self) -> dict[str, Any]:
        return {
            "vocabulary": len(self.words),
            "answers": len(self.answers),
            "frames": self.info.features["sampling"]["frames"],
        }

    def word_ids(self, words: list[str]) -> list[int]:
        """The ids of a question's words, padded to 14; a word unseen in training is the padding."""
        return word_ids(words, self.words)

    def targets(self, members: dict[str, bytes], question: int) -> Tensors:
        """`question` `[Q, 14]`, `answer` `[Q]` (−1: never given in training) and `type` `[Q]`."""
        asked = read_questions(member(members, "qa.json"))
        if question != ALL_QUESTIONS:
            if question >= len(asked):
                raise StgcmaError(f"qa.json has {len(asked)} questions, not one with the number {question}")
            asked = [asked[question]]
        return {
            "question": torch.tensor([self.word_ids(one["words"]) for one in asked], dtype=torch.int64),
            "answer": torch.tensor([self.answers.get(one["answer"], UNKNOWN_ANSWER) for one in asked]),
            "type": torch.tensor([QUESTION_TYPES.index(tuple(one["type"])) for one in asked]),
        }

    def collate(self, targets: list[Tensors]) -> tuple[Tensors, Tensors]:
        joined = {name: torch.cat([one[name] for one in targets]) for name in targets[0]}
        counts = torch.tensor([len(one["answer"]) for one in targets])
        joined["owner"] = torch.arange(len(targets)).repeat_interleave(counts)
        inputs = {"question": joined.pop("question")}
        if bool((counts != 1).any()):
            inputs["owner"] = joined["owner"]
        return inputs, joined

    def weights(self, loss: LossConfig) -> dict[str, float]:
        return {"answer": 1.0, "match": loss.match}

    def counts(self, targets: Tensors, weight: Tensor) -> dict[str, float]:
        answers = float(self._known(targets, weight).sum())
        pairs = 2 * float(weight.sum()) * self.info.features["sampling"]["frames"]
        return {"answer": answers, "match": pairs, "score": answers}

    def terms(self, outputs: Tensors, targets: Tensors, weight: Tensor, loss: LossConfig) -> Terms:  # noqa: ARG002
        logits, answer = outputs["answer_logits"].float(), targets["answer"]
        known = self._known(targets, weight)
        costs = functional.cross_entropy(logits, answer, ignore_index=UNKNOWN_ANSWER, reduction="none")
        losses = {"answer": (costs * known).sum()}
        if "match_positive" in outputs:
            pairs = torch.stack([outputs["match_positive"], outputs["match_negative"]]).float()
            rows = weight.repeat_interleave(pairs.shape[1] // len(weight)).expand(2, -1)
            matches = torch.zeros(pairs.shape[:2], dtype=torch.int64, device=pairs.device)
            matches[0] = 1
            costs = functional.cross_entropy(pairs.flatten(0, 1), matches.flatten(), reduction="none")
            losses["match"] = (costs * rows.flatten()).sum()
        right = (logits.detach().argmax(-1) == answer) * known
        return Terms(losses=losses, score=right.sum())

    def _known(self, targets: Tensors, weight: Tensor) -> Tensor:
        """1 for every question that counts and whose answer training knows, `[Q]`."""
        return weight[targets["owner"]] * (targets["answer"] != UNKNOWN_ANSWER)

    def meter(self) -> AnswerMeter:
        return AnswerMeter()


class AnswerMeter(Meter):
    """The share of questions answered right, by type. An answer never given in training cannot be right."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = {"right": np.zeros(len(QUESTION_TYPES)), "asked": np.zeros(len(QUESTION_TYPES))}

    def update(self, outputs: Tensors, targets: Tensors) -> None:
        self.add(outputs["answer_logits"].argmax(-1), targets["answer"], targets["type"])

    def add(self, predicted: Tensor, answer: Tensor, kind: Tensor) -> None:
        """Counts answers: predicted and true indices, and the questions' types, each `[Q]`."""
        if predicted.shape != answer.shape:
            raise ValueError(f"{tuple(predicted.shape)} answers to {tuple(answer.shape)} questions")
        np.add.at(self.counts["asked"], kind.numpy(), 1)
        np.add.at(self.counts["right"], kind.numpy(), (predicted == answer).numpy())

    def score(self) -> float:
        found = self._share(range(len(QUESTION_TYPES)))
        return float("nan") if found is None else found

    def summary(self) -> dict[str, Any]:
        modalities = dict.fromkeys(modality for modality, _ in QUESTION_TYPES)
        return {
            "accuracy": self.score(),
            "questions": int(self.counts["asked"].sum()),
            "by_modality": {modality: self._share(_types_of(modality)) for modality in modalities},
            "by_type": {
                f"{modality} {kind}": {"accuracy": self._share([index]), "questions": int(asked)}
                for index, ((modality, kind), asked) in enumerate(
                    zip(QUESTION_TYPES, self.counts["asked"], strict=True)
                )
            },
        }

    def _share(self, types: Any) -> float | None:
        chosen = list(types)
        return share(self.counts["right"][chosen].sum(), self.counts["asked"][chosen].sum())


def _types_of(modality: str) -> Iterator[int]:
    return (index for index, (own, _) in enumerate(QUESTION_TYPES) if own == modality)
