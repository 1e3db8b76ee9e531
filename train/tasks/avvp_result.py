"""The scores of AVVP as stored and shown, from the counts of `ParsingCounts` as arrays that add up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..fields import field
from ..metrics.event_parsing import STREAMS, Confusion, LevelScores, ParsingCounts, ParsingScores
from .meter import ScoreRow, TaskResult, share

LEVELS = ("segment", "event", "video")
# The streams of each level, in the order of the arrays.
_STREAMS = {
    "segment": (*STREAMS, "Event"),
    "event": (*STREAMS, "Event"),
    "video": (*STREAMS, "any"),
}
_OFFICIAL = {"a": "A", "v": "V", "av": "AV", "type_av": "Type@AV", "event_av": "Event@AV"}
# A line of metrics.jsonl holds the score of every class, but not of a collection with thousands.
_MOST_CLASSES_LISTED = 512

Arrays = dict[str, npt.NDArray[np.float64]]


def empty_arrays(classes: int) -> Arrays:
    """Return the arrays of no clips.

    `clips` are the scored clips and those without events; `f_sums` `[2, 4]` and `confusions`
    `[3, 4, 3, classes]` are by level and stream; `empty` `[2, 3]` are clips without truth, and without truth
    and prediction; `above` are the pooled probabilities above 1, and all of them.
    """
    return {
        "clips": np.zeros(2),
        "f_sums": np.zeros((2, 4)),
        "confusions": np.zeros((len(LEVELS), 4, 3, classes)),
        "empty": np.zeros((2, len(STREAMS))),
        "above": np.zeros(2),
    }


def add_counts(arrays: Arrays, counts: ParsingCounts) -> None:
    """Add the counts of clips to the arrays."""
    arrays["clips"][0] += counts.clips
    for row, level in enumerate(LEVELS):
        for column, stream in enumerate(_STREAMS[level]):
            if level != "video":
                arrays["f_sums"][row, column] += counts.f_sums[level, stream]
            arrays["confusions"][row, column] += np.stack(counts.confusions[level, stream].arrays)
    for column, stream in enumerate(STREAMS):
        arrays["empty"][:, column] += counts.empty_truth[stream], counts.empty[stream]


def read_counts(arrays: Arrays) -> ParsingCounts:
    """Return the counts of the arrays."""
    counts = ParsingCounts(arrays["confusions"].shape[-1], clips=int(arrays["clips"][0]))
    for row, level in enumerate(LEVELS):
        for column, stream in enumerate(_STREAMS[level]):
            if level != "video":
                counts.f_sums[level, stream] = float(arrays["f_sums"][row, column])
            values = arrays["confusions"][row, column].astype(np.int64)
            counts.confusions[level, stream] = Confusion(*values)
    for column, stream in enumerate(STREAMS):
        counts.empty_truth[stream], counts.empty[stream] = arrays["empty"][:, column].astype(int).tolist()
    return counts


@dataclass(frozen=True, eq=False)
class AvvpResult(TaskResult):
    """The official scores of LLP, by segment and by event, and counts over the split beside them.

    Attributes:
        classes: class names.
        arrays: as in `empty_arrays`.
    """

    classes: tuple[str, ...]
    arrays: Arrays

    def __post_init__(self) -> None:
        if not self.classes:
            raise ValueError("classes is empty")
        for name, wanted in empty_arrays(len(self.classes)).items():
            found = self.arrays[name]
            if found.shape != wanted.shape or not np.isfinite(found).all() or found.min() < 0:
                raise ValueError(f"counts.{name} is no array {list(wanted.shape)} of numbers from 0")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AvvpResult) or self.classes != other.classes:
            return False
        return all(np.array_equal(values, other.arrays[name]) for name, values in self.arrays.items())

    def __hash__(self) -> int:
        return hash((self.classes, self.clips))

    @property
    def clips(self) -> int:
        """The number of scored clips."""
        return int(self.arrays["clips"][0])

    def scores(self) -> ParsingScores | None:
        """Return all scores; None when no clip was scored."""
        return read_counts(self.arrays).scores() if self.clips else None

    @property
    def score(self) -> float:
        scores = self.scores()
        return float("nan") if scores is None else scores.segment.type_av

    def metrics(self) -> dict[str, float | None]:
        scores = self.scores()
        found: dict[str, float | None] = {"segment_type_av": None if scores is None else self.score}
        for level in ("segment", "event"):
            values = {} if scores is None else asdict(_level(scores, level))
            found |= {f"{level}_{name}": values.get(name) for name in _OFFICIAL}
        found |= {f"micro_{name}": value for name, value in self._micro(scores)}
        for name in STREAMS:
            found[f"empty_{name.lower()}"] = None if scores is None else scores.empty_share[name]
        found["share_above_1"] = share(*self.arrays["above"])
        listed = self.classes if len(self.classes) <= _MOST_CLASSES_LISTED else ()
        return found | {f"micro/{row.name}": row.share for row in self._class_rows() if row.name in listed}

    def _micro(self, scores: ParsingScores | None) -> Iterator[tuple[str, float | None]]:
        """Yield F of the counts of all classes over the split: by segment, and of the classes of clips."""
        for name in STREAMS:
            yield (
                f"segment_{name.lower()}",
                None if scores is None else scores.segment_counts[name].pooled_f(),
            )
        for name in (*STREAMS, "any"):
            yield f"video_{name.lower()}", None if scores is None else scores.video_counts[name].pooled_f()

    def rows(self) -> list[ScoreRow]:
        scores = self.scores()
        found = self._class_rows()
        for level in ("segment", "event"):
            values = {} if scores is None else asdict(_level(scores, level))
            found += [
                ScoreRow(
                    f"{title} by {level}",
                    values.get(name),
                    self.clips,
                    "score" if (level, name) == ("segment", "type_av") else "sum",
                )
                for name, title in _OFFICIAL.items()
            ]
        return found

    def _class_rows(self) -> list[ScoreRow]:
        """Return F of each class over the seconds of both modalities; `count` is its true seconds."""
        counts = self.arrays["confusions"][0, _STREAMS["segment"].index("Event")].astype(int)
        return [
            ScoreRow(name, share(2 * right, 2 * right + wrong + missed), right + missed)
            for name, (right, wrong, missed) in zip(self.classes, counts.T.tolist(), strict=True)
        ]

    def to_json(self) -> dict[str, Any]:
        scores = self.scores()
        metrics = self.metrics()
        return {
            "segment_type_av": metrics["segment_type_av"],
            "segment": None if scores is None else asdict(scores.segment),
            "event": None if scores is None else asdict(scores.event),
            "micro": {name[6:]: value for name, value in metrics.items() if name.startswith("micro_")},
            "empty_truth_share": None if scores is None else scores.empty_truth_share,
            "empty_share": None if scores is None else scores.empty_share,
            "share_above_1": metrics["share_above_1"],
            "scored_clips": self.clips,
            "clips_without_events": int(self.arrays["clips"][1]),
            "by_class": {row.name: row.share for row in self._class_rows()},
            "counts": {name: values.tolist() for name, values in self.arrays.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        names = tuple(field(content, "by_class", dict[str, float | None]))
        counts = field(content, "counts", dict[str, Any])
        if missing := sorted(empty_arrays(1).keys() - counts.keys()):
            raise ValueError(f"counts has no {', '.join(missing)}")
        try:
            arrays = {name: np.array(counts[name], dtype=np.float64) for name in empty_arrays(1)}
        except (TypeError, ValueError):
            raise ValueError("counts holds something else than numbers") from None
        return cls(names, arrays)


def _level(scores: ParsingScores, level: str) -> LevelScores:
    return scores.segment if level == "segment" else scores.event
