"""AVQA: the answer to a question. Losses: cross-entropy of answers and matches. Score: accuracy, by type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...errors import StgcmaError
from ...model.inputs import word_ids
from ...shards.members import Question, member, read_questions, type_name
from ...shards.schema import QUESTION_TYPES, DatasetInfo, question_types
from ...shards.storage import Location
from ..fields import field
from ..order import ALL_QUESTIONS
from ..sections import LossConfig
from .base import Task, Terms
from .members import split_members
from .meter import Meter, ScoreRow, TaskResult, Tensors, share

UNKNOWN_ANSWER = -1
# Types of other collections are of no modality.
_MODALITY = {f"{modality} {kind}": modality for modality, kind in QUESTION_TYPES}


@dataclass(frozen=True)
class AvqaResult(TaskResult):
    """Accuracy over all questions, by modality and by type.

    Attributes:
        by_modality: modality to accuracy; empty for types that are not MUSIC-AVQA's.
        by_type: type of question to accuracy and number of questions.
    """

    accuracy: float | None
    by_modality: Mapping[str, float | None]
    by_type: Mapping[str, tuple[float | None, int]]

    @property
    def score(self) -> float:
        return float("nan") if self.accuracy is None else self.accuracy

    def metrics(self) -> dict[str, float | None]:
        found = {"accuracy": self.accuracy}
        found |= {f"accuracy/{name}": value for name, value in self.by_modality.items()}
        return found | {f"accuracy/{name}": value for name, (value, _) in self.by_type.items()}

    def rows(self) -> list[ScoreRow]:
        rows = [ScoreRow(name, value, questions) for name, (value, questions) in self.by_type.items()]
        for modality, value in self.by_modality.items():
            asked = sum(count for name, (_, count) in self.by_type.items() if _MODALITY.get(name) == modality)
            rows.append(ScoreRow(f"all {modality}", value, asked, kind="sum"))
        return rows

    def to_json(self) -> dict[str, Any]:
        return {
            "accuracy": self.accuracy,
            "questions": sum(questions for _, questions in self.by_type.values()),
            "by_modality": dict(self.by_modality),
            "by_type": {
                name: {"accuracy": value, "questions": questions}
                for name, (value, questions) in self.by_type.items()
            },
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        types = field(content, "by_type", dict[str, dict[str, float | None]])
        modalities = field(content, "by_modality", dict[str, float | None])
        expected = _modalities(types)
        if set(modalities) != set(expected):
            found = ", ".join(modalities) or "nothing"
            raise ValueError(f"by_modality has {found}, expected {', '.join(expected) or 'nothing'}")
        by_type = {
            name: (field(one, "accuracy", float | None), int(field(one, "questions", float)))
            for name, one in types.items()
        }
        return cls(field(content, "accuracy", float | None), modalities, by_type)


def _modalities(types: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_MODALITY[name] for name in types if name in _MODALITY))


class AvqaTask(Task):
    """Answers to questions about a clip."""

    name = "avqa"
    score_name = "accuracy"
    result_type = AvqaResult
    collection = "music-avqa"
    several_questions = True
    needs_negatives = True
    outputs_per_second = False

    def __init__(self, info: DatasetInfo) -> None:
        super().__init__(info)
        self.words = {word: index for index, word in enumerate(info.vocabulary["words"])}
        self.answers = {answer: index for index, answer in enumerate(info.vocabulary["answers"])}
        self.types = {name: index for index, name in enumerate(question_types(info.vocabulary))}

    def model_options(self) -> dict[str, Any]:
        return {
            "vocabulary": len(self.words),
            "answers": len(self.answers),
            "frames": self.info.features["sampling"]["frames"],
        }

    def word_ids(self, words: list[str]) -> list[int]:
        """Return the ids of a question's words, padded to 14; an unknown word has the id of the padding."""
        return word_ids(words, self.words)

    def targets(self, members: dict[str, bytes], question: int) -> Tensors:
        """Return `question` `[Q, 14]`, `answer` `[Q]` (−1: not in the vocabulary) and `type` `[Q]`."""
        asked = read_questions(member(members, "qa.json"), types=self.types)
        if question != ALL_QUESTIONS:
            if question >= len(asked):
                raise StgcmaError(f"qa.json has {len(asked)} questions, not one with the number {question}")
            asked = [asked[question]]
        return {
            "question": torch.tensor([self.word_ids(one["words"]) for one in asked], dtype=torch.int64),
            "answer": torch.tensor([self.answers.get(one["answer"], UNKNOWN_ANSWER) for one in asked]),
            "type": torch.tensor([self.types[type_name(one)] for one in asked]),
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
        """Return 1 for every question that counts and whose answer is in the vocabulary, else 0: `[Q]`."""
        return weight[targets["owner"]] * (targets["answer"] != UNKNOWN_ANSWER)

    def meter(self) -> AnswerMeter:
        return AnswerMeter(tuple(self.types))

    def clip_of(self, outputs: Tensors, targets: Tensors, index: int) -> tuple[Tensors, Tensors]:
        rows = targets["owner"] == index
        of_clip = {name: tensor[rows] for name, tensor in targets.items()}
        of_clip["owner"] = torch.zeros_like(of_clip["owner"])
        return {name: tensor[rows] for name, tensor in outputs.items()}, of_clip

    def baselines(self, shards: Location, split: str) -> dict[str, float]:
        """Return the accuracy of the training split's most frequent answer, overall and to each template.

        A template that the training split lacks gets the most frequent answer overall.
        """
        by_template: dict[str, Counter[str]] = {}
        overall: Counter[str] = Counter()
        for asked in self._questions(shards, "train"):
            by_template.setdefault(asked["template"], Counter())[asked["answer"]] += 1
            overall[asked["answer"]] += 1
        if not overall:
            return {}
        common = overall.most_common(1)[0][0]
        meters = {
            "most frequent answer": self.meter(),
            "most frequent answer to the template": self.meter(),
        }
        for asked in self._questions(shards, split):
            to_template = by_template.get(asked["template"], overall).most_common(1)[0][0]
            for meter, answer in zip(meters.values(), (common, to_template), strict=True):
                kind = torch.tensor([self.types[type_name(asked)]])
                meter.add(torch.tensor([int(answer == asked["answer"])]), torch.tensor([1]), kind)
        return {name: meter.score() for name, meter in meters.items()}

    def _questions(self, shards: Location, split: str) -> Iterator[Question]:
        for _, content in split_members(shards, split, ("qa.json",)):
            yield from read_questions(content, types=self.types)


class AnswerMeter(Meter):
    """Counts questions and right answers by type. An answer outside the vocabulary is never right.

    Attributes:
        types: names of the types, in the order of their indices.
    """

    def __init__(self, types: Sequence[str] = tuple(_MODALITY)) -> None:
        super().__init__()
        self.types = tuple(types)
        self.counts = {"right": np.zeros(len(types)), "asked": np.zeros(len(types))}

    def update(self, outputs: Tensors, targets: Tensors) -> None:
        self.add(outputs["answer_logits"].argmax(-1), targets["answer"], targets["type"])

    def add(self, predicted: Tensor, answer: Tensor, kind: Tensor) -> None:
        """Count answers: predicted and true indices, and the questions' types, each `[Q]`."""
        if predicted.shape != answer.shape:
            raise ValueError(f"{tuple(predicted.shape)} answers to {tuple(answer.shape)} questions")
        np.add.at(self.counts["asked"], kind.numpy(), 1)
        np.add.at(self.counts["right"], kind.numpy(), (predicted == answer).numpy())

    def result(self) -> AvqaResult:
        asked = self.counts["asked"].astype(int).tolist()
        return AvqaResult(
            accuracy=self._share(range(len(self.types))),
            by_modality={
                modality: self._share(
                    [i for i, name in enumerate(self.types) if _MODALITY.get(name) == modality]
                )
                for modality in _modalities(self.types)
            },
            by_type={name: (self._share([i]), asked[i]) for i, name in enumerate(self.types)},
        )

    def _share(self, types: Sequence[int]) -> float | None:
        chosen = list(types)
        return share(self.counts["right"][chosen].sum(), self.counts["asked"][chosen].sum())


TASK = AvqaTask
