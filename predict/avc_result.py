"""Results of AVC on a video: the classes of the whole video, and of each of its parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

from ..figures import clock, percent
from .results import Prediction, listed

Ranked = tuple[tuple[str, float], ...]
"""Classes with their shares, the likeliest first."""


@dataclass(frozen=True)
class LabelledSecond:
    """The classes of one second of a video: of the windows that cover it.

    Attributes:
        start: in seconds.
        end: in seconds.
        labels: the predicted classes, the likeliest first; none where clips have several labels and no class
            is likely enough.
        top: the likeliest classes, with all `labels` among them.
    """

    start: float
    end: float
    labels: tuple[str, ...]
    top: Ranked


@dataclass(frozen=True)
class LabelledPart:
    """Successive seconds with the same labels.

    Attributes:
        start: of the first second, in seconds.
        end: of the last second, in seconds.
        labels: the predicted classes with the means of their shares, the likeliest first; may be none.
    """

    start: float
    end: float
    labels: Ranked

    @property
    def text(self) -> str:
        """The labels and their shares as text; empty without labels."""
        return ", ".join(f"{name} ({percent(share)})" for name, share in self.labels)


@dataclass(frozen=True)
class AvcPrediction(Prediction):
    """The classes of a video.

    Attributes:
        labels: the predicted classes of the whole video with their shares; one, or any number.
        top: the likeliest classes of the whole video.
        parts: successive seconds with the same labels, without gaps.
        seconds: without gaps; the last one may be up to half a second longer or shorter.
    """

    labels: Ranked
    top: Ranked
    parts: tuple[LabelledPart, ...]
    seconds: tuple[LabelledSecond, ...]

    header: ClassVar = ("from", "to", "labels")

    def findings(self) -> dict[str, Any]:
        return {
            "labels": _classes(self.labels),
            "top": _classes(self.top),
            "parts": [
                {"start": one.start, "end": one.end, "labels": _classes(one.labels)} for one in self.parts
            ],
            "seconds": [
                {"start": one.start, "end": one.end, "labels": list(one.labels), "top": _classes(one.top)}
                for one in self.seconds
            ],
        }

    def rows(self) -> Sequence[tuple[str, ...]]:
        return [(clock(one.start), clock(one.end), one.text or "no label") for one in self.parts]

    def headline(self) -> str:
        return listed([f"{name} ({percent(share)})" for name, share in self.labels]) or "No label"


def _classes(ranked: Ranked) -> list[dict[str, Any]]:
    return [{"class": name, "confidence": share} for name, share in ranked]


def merge_parts(seconds: Sequence[LabelledSecond]) -> Iterator[LabelledPart]:
    """Join successive seconds whose labels are the same, in whatever order."""
    for _, group in groupby(seconds, key=lambda second: frozenset(second.labels)):
        joined = list(group)
        means = {
            name: sum(dict(second.top)[name] for second in joined) / len(joined) for name in joined[0].labels
        }
        ranked = tuple(sorted(means.items(), key=lambda item: -item[1]))
        yield LabelledPart(joined[0].start, joined[-1].end, ranked)
