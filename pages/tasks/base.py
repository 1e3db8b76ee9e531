"""The interface of a task's view: texts, columns and rows of the report and of the inspect page."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from ...shards.schema import DatasetInfo
from ...train.tasks.meter import Tensors
from ..strips import Row


@dataclass(frozen=True)
class PredictedAnswer:
    """A question, the true and the predicted answer, and the probability of the predicted one."""

    question: str
    true: str
    predicted: str
    confidence: float

    @property
    def right(self) -> bool:
        """The predicted answer is the true one."""
        return self.true == self.predicted


@dataclass(frozen=True)
class AskedQuestion:
    """A question of a clip, its answer and its type."""

    text: str
    answer: str
    kind: str


@dataclass(frozen=True)
class ClipRows:
    """Rows of a clip above its spectrogram, which belong to frames, and below it."""

    above: list[Row] = field(default_factory=list)
    below: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class PredictedClip:
    """A clip's members, and the model's outputs and the targets as a batch of one clip."""

    key: str
    members: dict[str, bytes]
    info: DatasetInfo
    outputs: Tensors
    targets: Tensors


@dataclass(frozen=True)
class DetailTable:
    """Titles of the report's table of the parts of the score; `count` is the unit that is counted."""

    title: str
    caption: str
    part: str
    count: str


class TaskView(ABC):
    """The task-dependent parts of the report and of the inspect page.

    Attributes:
        lead: the first line of a report.
        score_label: name of the score for a person.
        clip_score: words after a clip's score.
        detail: titles of the table of the parts of the score.
        metric_labels: names of further metrics for a person; without one a metric has its own name.
        clips_note: sentence about the marks in the report's clips.
        samples_note: sentence about the marks in the inspect page's clips.
        filter_word: the kind of name that clips are filtered by on the inspect page.
        lists_names: the inspect page lists these names beside each clip's key.
        hub_task: the Hub's name of the kind of task, by which its models are found.
    """

    lead: ClassVar[str]
    score_label: ClassVar[str]
    clip_score: ClassVar[str]
    detail: ClassVar[DetailTable]
    metric_labels: ClassVar[Mapping[str, str]] = {}
    clips_note: ClassVar[str] = "What is wrong is marked ✗."
    samples_note: ClassVar[str] = ""
    filter_word: ClassVar[str] = "class"
    lists_names: ClassVar[bool] = True
    hub_task: ClassVar[str] = "video-classification"

    def label_of(self, metric: str) -> str:
        """Return the name of a metric for a person; that of the score unless `metric_labels` has another."""
        return self.metric_labels.get(metric, self.score_label)

    @abstractmethod
    def predicted_rows(self, clip: PredictedClip) -> ClipRows:
        """Return the rows of a clip of the report besides its frames and its spectrogram."""

    def answers(self, clip: PredictedClip) -> tuple[PredictedAnswer, ...]:  # noqa: ARG002
        """Return the questions of a clip with their predicted answers; none for most tasks."""
        return ()

    def filter_names(self, info: DatasetInfo) -> list[str]:
        """Return the names that clips can be filtered by: the classes."""
        return list(info.classes)

    @abstractmethod
    def names_of(self, info: DatasetInfo, members: dict[str, bytes]) -> tuple[str, ...]:
        """Return the names among `filter_names` that a clip has, in their order in the clip."""

    def true_rows(self, key: str, info: DatasetInfo, members: dict[str, bytes]) -> ClipRows:  # noqa: ARG002
        """Return the rows of a clip of the inspect page besides its frames and its spectrogram."""
        return ClipRows()

    def questions(self, members: dict[str, bytes]) -> tuple[AskedQuestion, ...]:  # noqa: ARG002
        """Return the questions of a clip; none for most tasks."""
        return ()


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return each name once, in the order of first appearance."""
    return tuple(dict.fromkeys(names))
