"""Audio-visual video parsing (LLP): F of audible, visible and audio-visual events, by segment and by event.

The release (YapengTian/AVVP-ECCV20, `utils/eval_metrics.py`, `main_avvp.py`) computes F for every clip, as
the mean over the classes that occur in the prediction or the truth, and averages over the clips. A clip with
neither scores 1, so a predictor of nothing scores the share of empty clips; counts over the whole split by
class and the shares of empty clips are given beside.

Arrays of decisions and truth are bool, with seconds on axis 1: `[N, T, C]` for one stream, `[N, T, 2, C]` for
both modalities (0 audible, 1 visible). Streams are A (audible), V (visible) and AV (both at once).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

SECONDS = 10
CLASSES = 25
THRESHOLD = 0.5
STREAMS = ("A", "V", "AV")

Bools = npt.NDArray[np.bool_]
Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def decide(frame_probabilities: Tensor, clip_probabilities: Tensor) -> Tensor:
    """Return the decisions: `[N, T, 2, C]` and `[N, C]` → bool `[N, T, 2, C]`.

    Both probabilities must reach 0.5, 0.5 included; that of the clip gates both modalities. It may exceed 1
    (see `mmil`), which changes nothing here.
    """
    clip = clip_probabilities[:, None, None]
    return (frame_probabilities >= THRESHOLD) & (clip >= THRESHOLD)


def mark_rows(
    rows: Iterable[tuple[int, int, int]], *, seconds: int = SECONDS, classes: int = CLASSES
) -> Bools:
    """Return the seconds that annotation rows of one clip and modality mark: bool `[seconds, classes]`.

    Args:
        rows: (class, onset, offset) in whole seconds, offset exclusive. Rows that touch or overlap become one
            event. A row whose offset is not after its onset marks nothing, as in the release; so do seconds
            after the end of the clip.
        seconds: length of the clip.
        classes: number of classes.

    Raises ValueError for a class outside the range or a negative onset.
    """
    marked = np.zeros((seconds, classes), dtype=bool)
    for row in rows:
        label, onset, offset = row
        if not 0 <= label < classes or onset < 0:
            raise ValueError(f"row {tuple(row)}: class must be 0 to {classes - 1}, onset at least 0")
        marked[onset : max(offset, onset), label] = True  # a negative offset would count from the end
    return marked


def events(marked: Bools) -> list[tuple[int, int, int]]:
    """Return the events of a clip, bool `[T, C]`, as (class, onset, offset), offset exclusive, sorted."""
    runs = _runs(marked[None])
    return list(zip(runs.group.tolist(), runs.start.tolist(), runs.end.tolist(), strict=True))


@dataclass(frozen=True)
class Confusion:
    """Counts of true positives, false positives and false negatives; arrays of equal shape."""

    true_positive: Integers
    false_positive: Integers
    false_negative: Integers

    def __post_init__(self) -> None:
        if not self.true_positive.shape == self.false_positive.shape == self.false_negative.shape:
            raise ValueError(f"counts have the shapes {[values.shape for values in self.arrays]}")

    @property
    def arrays(self) -> tuple[Integers, Integers, Integers]:
        """The three arrays, in the order of the attributes."""
        return self.true_positive, self.false_positive, self.false_negative

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(*(mine + its for mine, its in zip(self.arrays, other.arrays, strict=True)))

    def sum(self) -> Confusion:
        """Return the sums over the first axis."""
        return Confusion(*(values.sum(0) for values in self.arrays))

    def f(self) -> Array:
        """Return F = 2·TP / (2·TP + FP + FN) of every entry; NaN where all counts are 0."""
        total = 2 * self.true_positive + self.false_positive + self.false_negative
        return np.where(total > 0, 2 * self.true_positive / np.maximum(total, 1), np.nan)

    def pooled_f(self) -> float | None:
        """Return F of the sums over all entries; None where all counts are 0."""
        value = float(Confusion(*(values.sum(keepdims=True) for values in self.arrays)).f().item())
        return None if np.isnan(value) else value

    def clip_f(self) -> Array:
        """Return F by clip, `[N, C]` → `[N]`: the mean over the classes with a count, 1 where none has."""
        f = self.f()
        counted = ~np.isnan(f)
        mean = np.where(counted, f, 0).sum(1) / np.maximum(counted.sum(1), 1)
        return np.where(counted.any(1), mean, 1.0)


def segment_confusion(predicted: Bools, truth: Bools) -> Confusion:
    """Count seconds: `[N, T, C]` twice → counts `[N, C]`."""
    return Confusion(*((here.sum(1)) for here in (predicted & truth, predicted & ~truth, ~predicted & truth)))


def event_confusion(predicted: Bools, truth: Bools) -> Confusion:
    """Count events, maximal runs of seconds: `[N, T, C]` twice → counts `[N, C]`.

    A predicted event is right when some true event of its class has an intersection of at least half their
    union; a true event is missed when no predicted one has. Runs of a class never touch, so that no event
    can match two.
    """
    count, _, classes = predicted.shape
    guess, real = _runs(predicted), _runs(truth)
    both = predicted & truth
    # The seconds in which both are on, as pairs of run numbers: each pair as often as their intersection.
    pairs, intersection = np.unique(
        np.stack([guess.number[both], real.number[both]]), axis=1, return_counts=True
    )
    union = guess.length[pairs[0]] + real.length[pairs[1]] - intersection
    matched = pairs[:, 2 * intersection >= union]

    def by_class(groups: Integers) -> Integers:
        return np.bincount(groups, minlength=count * classes).reshape(count, classes).astype(np.int64)

    right = by_class(guess.group[np.unique(matched[0])])
    found = by_class(real.group[np.unique(matched[1])])
    return Confusion(right, by_class(guess.group) - right, by_class(real.group) - found)


@dataclass(frozen=True)
class LevelScores:
    """The official scores at one level; shares in [0, 1], means over the clips.

    Attributes:
        a, v, av: F of audible, visible and audio-visual events.
        type_av: mean of the three ("Type@AV").
        event_av: F of audible and visible events counted together ("Event@AV").
    """

    a: float
    v: float
    av: float
    type_av: float
    event_av: float


@dataclass(frozen=True)
class ParsingScores:
    """The scores of a split. Dictionaries have the keys of `STREAMS`.

    Attributes:
        segment, event: the official scores by second and by event.
        segment_counts, event_counts: stream to counts by class over the whole split, `[C]`.
        video_counts: stream to the same of clips in which the class occurs at all; `any` is audible or
            visible.
        empty_truth_share: stream to the share of clips without truth.
        empty_share: stream to the share of clips without truth and without prediction, which score 1.
        clips: number of clips.
    """

    segment: LevelScores
    event: LevelScores
    segment_counts: dict[str, Confusion]
    event_counts: dict[str, Confusion]
    video_counts: dict[str, Confusion]
    empty_truth_share: dict[str, float]
    empty_share: dict[str, float]
    clips: int


@dataclass
class ParsingCounts:
    """Sums over clips from which the scores follow.

    Attributes:
        classes: number of classes C.
        clips: number of clips added.
        f_sums: level (`segment`, `event`) and stream (also `Event`) to the sum of the clips' F.
        confusions: level (also `video`) and stream to counts by class.
        empty_truth, empty: stream to number of clips.
    """

    classes: int = CLASSES
    clips: int = 0
    f_sums: dict[tuple[str, str], float] = field(default_factory=dict)
    confusions: dict[tuple[str, str], Confusion] = field(default_factory=dict)
    empty_truth: dict[str, int] = field(default_factory=dict)
    empty: dict[str, int] = field(default_factory=dict)

    def add(self, predicted: Bools, truth: Bools) -> None:
        """Add clips: decisions and truth, bool `[N, T, 2, C]`. Raises ValueError for other shapes."""
        if predicted.shape != truth.shape or truth.ndim != 4 or truth.shape[2:] != (2, self.classes):
            raise ValueError(
                f"predicted {predicted.shape}, truth {truth.shape}; expected [N, T, 2, {self.classes}]"
            )
        part = ParsingCounts(self.classes, clips=len(truth))
        guesses, truths = _streams(predicted), _streams(truth)
        for level, count in (("segment", segment_confusion), ("event", event_confusion)):
            found = {name: count(guesses[name], truths[name]) for name in STREAMS}
            for name, confusion in (*found.items(), ("Event", found["A"] + found["V"])):
                part.f_sums[level, name] = float(confusion.clip_f().sum())
                part.confusions[level, name] = confusion.sum()
        for name in STREAMS:
            without = ~truths[name].any((1, 2))
            part.empty_truth[name] = int(without.sum())
            part.empty[name] = int((without & ~guesses[name].any((1, 2))).sum())
        for name in (*STREAMS, "any"):
            tags = (_tags(guesses[name]), _tags(truths[name]))
            part.confusions["video", name] = segment_confusion(*tags).sum()
        self.merge(part)

    def merge(self, other: ParsingCounts) -> None:
        """Add the counts of other clips. Raises ValueError for another number of classes."""
        if self.classes != other.classes:
            raise ValueError(f"counts of {self.classes} and of {other.classes} classes do not merge")
        self.clips += other.clips
        for key, value in other.f_sums.items():
            self.f_sums[key] = self.f_sums.get(key, 0.0) + value
        for key, confusion in other.confusions.items():
            mine = self.confusions.get(key)
            self.confusions[key] = confusion if mine is None else mine + confusion
        for name, clips in other.empty_truth.items():
            self.empty_truth[name] = self.empty_truth.get(name, 0) + clips
        for name, clips in other.empty.items():
            self.empty[name] = self.empty.get(name, 0) + clips

    def scores(self) -> ParsingScores:
        """Return all scores. Raises ValueError when no clip was added."""
        if not self.clips:
            raise ValueError("no clips to score")
        return ParsingScores(
            segment=self._level("segment"),
            event=self._level("event"),
            segment_counts={name: self.confusions["segment", name] for name in STREAMS},
            event_counts={name: self.confusions["event", name] for name in STREAMS},
            video_counts={name: self.confusions["video", name] for name in (*STREAMS, "any")},
            empty_truth_share={name: self.empty_truth[name] / self.clips for name in STREAMS},
            empty_share={name: self.empty[name] / self.clips for name in STREAMS},
            clips=self.clips,
        )

    def _level(self, level: str) -> LevelScores:
        a, v, av, event = (self.f_sums[level, name] / self.clips for name in (*STREAMS, "Event"))
        return LevelScores(a=a, v=v, av=av, type_av=(a + v + av) / 3, event_av=event)


@dataclass(frozen=True)
class _Runs:
    """Maximal runs of seconds of all clips and classes, numbered by clip, class and onset.

    Attributes:
        group: `[R]`, clip · C + class.
        start, end: `[R]`, seconds, end exclusive.
        number: `[N, T, C]`, the number of the run that a marked second belongs to; undefined elsewhere.
    """

    group: Integers
    start: Integers
    end: Integers
    number: Integers

    @property
    def length(self) -> Integers:
        return self.end - self.start


def _runs(marked: Bools) -> _Runs:
    """Return the runs of bool `[N, T, C]`."""
    rows = marked.transpose(0, 2, 1).reshape(-1, marked.shape[1])
    steps = np.diff(rows.astype(np.int8), axis=1, prepend=0, append=0)
    group, start = np.nonzero(steps == 1)
    end = np.nonzero(steps == -1)[1]
    number = (np.cumsum(steps[:, :-1].ravel() == 1) - 1).reshape(len(marked), marked.shape[2], -1)
    return _Runs(group, start, end, number.transpose(0, 2, 1))


def _streams(marked: Bools) -> dict[str, Bools]:
    """Return the streams `[N, T, C]` of `[N, T, 2, C]`."""
    audible, visible = marked[:, :, 0], marked[:, :, 1]
    return {"A": audible, "V": visible, "AV": audible & visible, "any": audible | visible}


def _tags(marked: Bools) -> Bools:
    """Return the classes that occur in a clip: `[N, T, C]` → `[N, 1, C]`."""
    return np.asarray(marked.any(1, keepdims=True))
