"""Results of evaluations: typed, written as `evaluation-SPLIT.json`, and read back."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, replace
from typing import Any, Self

from .fields import damage_named, field
from .run_folder import RunFolder
from .tasks import TASKS
from .tasks.meter import ScoreRow, TaskResult

# Scores differ by rounding between machines; a score that is lower by more than this is another score.
TOLERANCE = 0.001


@dataclass(frozen=True)
class StoredScore:
    """The score in the run folder that an evaluation was compared with.

    Attributes:
        score: NaN when nothing was counted.
        machine: on which it was measured.
        met: the new score is not lower than the stored one by more than `TOLERANCE`.
    """

    score: float
    machine: str
    met: bool


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """The scores of one model on one split, and the model and the clips that they belong to.

    Attributes:
        task: its name.
        split: of the shards.
        shards: the directory that was scored.
        data_fingerprint: of the directory's data.
        checkpoint_sha256: of the file of trained tensors.
        clips: number of clips.
        modality: of the model.
        score_name: name of the task's score.
        score: the task's score, a share; NaN when nothing was counted.
        detail: all scores of the task.
        baselines: name to score of every baseline.
        selected_on: the split that chose the epoch; None when that is not recorded.
        machine: processor, device and version of torch.
        bounds: name to score of every answer that knows the truth of the split; see `Task.bounds`.
        stored: the score that the run folder already held for the same checkpoint and clips, if any.
    """

    task: str
    split: str
    shards: str
    data_fingerprint: str
    checkpoint_sha256: str
    clips: int
    modality: str
    score_name: str
    score: float
    detail: TaskResult
    baselines: dict[str, float]
    selected_on: str | None
    machine: str
    bounds: dict[str, float] = dataclasses.field(default_factory=dict)
    stored: StoredScore | None = None

    @property
    def metrics(self) -> dict[str, float | None]:
        """Every score by name, the task's score first; None where nothing was counted."""
        return self.detail.metrics()

    @property
    def further_metrics(self) -> dict[str, float | None]:
        """The metrics of the whole split besides the task's score; names of parts have a `/`."""
        return {
            name: value for name, value in self.metrics.items() if "/" not in name and name != self.score_name
        }

    @property
    def best_baseline(self) -> tuple[str, float] | None:
        """Name and score of the best baseline; None without baselines."""
        return max(self.baselines.items(), key=lambda item: item[1], default=None)

    def rows(self) -> list[ScoreRow]:
        """Return the scores of the parts of the split, the baselines and the score, as rows of a table."""
        parts = [row for row in self.detail.rows() if row.kind != "score"]
        compared = [
            ScoreRow(f"baseline: {name}", value, self.clips) for name, value in self.baselines.items()
        ]
        compared += [ScoreRow(f"bound: {name}", value, self.clips) for name, value in self.bounds.items()]
        score = None if math.isnan(self.score) else self.score
        return [*parts, *compared, ScoreRow(self.score_name, score, self.clips, kind="score")]

    def compared_with(self, stored: EvaluationResult) -> EvaluationResult:
        """Return this result with `stored`, an earlier one; every score meets a stored NaN."""
        met = math.isnan(stored.score) or self.score >= stored.score - TOLERANCE
        return replace(self, stored=StoredScore(stored.score, stored.machine, met))

    def to_json(self) -> dict[str, Any]:
        """Return the content of `evaluation-SPLIT.json`."""
        content = {
            "task": self.task,
            "split": self.split,
            "shards": self.shards,
            "data_fingerprint": self.data_fingerprint,
            "checkpoint_sha256": self.checkpoint_sha256,
            "clips": self.clips,
            "modality": self.modality,
            "score_name": self.score_name,
            "score": self.score,
            **self.detail.to_json(),
            "metrics": self.metrics,
            "baselines": self.baselines,
            "bounds": self.bounds,
            "selected_on": self.selected_on,
            "machine": self.machine,
        }
        if self.stored is not None:
            stored = {"score": self.stored.score, "machine": self.stored.machine, "met": self.stored.met}
            content["stored"] = stored
        return content

    @classmethod
    def from_json(cls, content: dict[str, Any], *, where: str) -> Self:
        """Read what `to_json` returned, without `stored`.

        Raises InputError naming `where` and the field that is missing or damaged.
        """
        with damage_named(where):
            task = field(content, "task", str)
            if task not in TASKS:
                raise ValueError(f"task is {task!r}, expected one of {', '.join(TASKS)}")
            texts = ("split", "shards", "data_fingerprint", "checkpoint_sha256", "modality", "machine")
            detail = TASKS[task].result_type.from_json(content)
            score_name, expected = field(content, "score_name", str), next(iter(detail.metrics()))
            if score_name != expected:
                raise ValueError(f"score_name is {score_name!r}, expected {expected!r}")
            score = field(content, "score", float | None)
            return cls(
                task=task,
                **{name: field(content, name, str) for name in texts},
                clips=field(content, "clips", int),
                score_name=score_name,
                score=math.nan if score is None else score,
                detail=detail,
                baselines=field(content, "baselines", dict[str, float]),
                selected_on=field(content, "selected_on", str | None),
                bounds=field({"bounds": {}} | content, "bounds", dict[str, float]),
            )


def read_evaluation(run: RunFolder, name: str) -> EvaluationResult | None:
    """Return the evaluation in the run's file `name`; None without one, or for an earlier checkpoint.

    Raises InputError naming the file and the field when it is damaged.
    """
    path = run.path / name
    if not path.is_file():
        return None
    content = run.read_json(name)
    if content.get("checkpoint_sha256") != run.best_sha256():
        return None
    return EvaluationResult.from_json(content, where=str(path))
