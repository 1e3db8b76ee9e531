"""Results of AVVP on a video: audible and visible classes of every second, events, subtitles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

from ..figures import clock, percent
from .results import Prediction, listed
from .subtitles import Cue, webvtt

MODALITIES = ("audible", "visible")

Named = tuple[tuple[str, float], ...]
"""Classes with their probabilities."""


@dataclass(frozen=True)
class ParsedSecond:
    """The classes of one second, each with its probability, the likeliest first; times in seconds."""

    start: float
    end: float
    audible: Named
    visible: Named

    def of(self, modality: str) -> Named:
        """Return the classes of `audible` or `visible`."""
        return self.audible if modality == MODALITIES[0] else self.visible


@dataclass(frozen=True)
class ParsedEvent:
    """Successive seconds of one class in one modality.

    Attributes:
        start: of the first second.
        end: of the last second.
        name: of the class.
        modality: `audible` or `visible`.
        confidence: the mean probability of the seconds.
    """

    start: float
    end: float
    name: str
    modality: str
    confidence: float


@dataclass(frozen=True)
class AvvpPrediction(Prediction):
    """The classes of every second of a video by modality, and the events that follow from them.

    Attributes:
        seconds: without gaps; the last one may be up to half a second longer or shorter.
        events: by start, then modality.
    """

    seconds: tuple[ParsedSecond, ...]
    events: tuple[ParsedEvent, ...]

    header: ClassVar = ("from", "to", "modality", "event", "confidence")

    def findings(self) -> dict[str, Any]:
        def classes(named: Named) -> list[dict[str, Any]]:
            return [{"class": name, "confidence": value} for name, value in named]

        return {
            "seconds": [
                {"start": one.start, "end": one.end}
                | {modality: classes(one.of(modality)) for modality in MODALITIES}
                for one in self.seconds
            ],
            "events": [
                {
                    "start": one.start,
                    "end": one.end,
                    "modality": one.modality,
                    "class": one.name,
                    "confidence": one.confidence,
                }
                for one in self.events
            ],
        }

    def rows(self) -> Sequence[tuple[str, ...]]:
        found = [
            (clock(one.start), clock(one.end), one.modality, one.name, percent(one.confidence))
            for one in self.events
        ]
        return found or [(clock(0), clock(self.length_seconds), "", "no event", "")]

    def headline(self) -> str:
        found = {mode: [one.name for one in self.events if one.modality == mode] for mode in MODALITIES}
        text = "; ".join(f"{mode}: {listed(names)}" for mode, names in found.items() if names)
        return text[:1].upper() + text[1:] or "No event"


def find_events(seconds: Sequence[ParsedSecond]) -> list[ParsedEvent]:
    """Join successive seconds of a class and modality into events, by start, modality and class."""
    events: list[ParsedEvent] = []
    for modality in MODALITIES:
        running: dict[str, list[tuple[ParsedSecond, float]]] = {}
        for second in [*seconds, None]:
            current = dict(second.of(modality)) if second else {}
            for name in [name for name in running if name not in current]:
                joined = running.pop(name)
                mean = sum(value for _, value in joined) / len(joined)
                events.append(ParsedEvent(joined[0][0].start, joined[-1][0].end, name, modality, mean))
            for name, value in current.items():
                running.setdefault(name, []).append((second, value))  # type: ignore[arg-type]
    return sorted(events, key=lambda one: (one.start, MODALITIES.index(one.modality), one.name))


def subtitles(seconds: Sequence[ParsedSecond]) -> str:
    """Return the classes as WebVTT: a cue for successive seconds of the same classes.

    A cue has a line for audible and one for visible classes. Cues do not overlap, since some players show
    only one at a time.
    """
    return webvtt(_cues(seconds))


def _cues(seconds: Sequence[ParsedSecond]) -> Iterator[Cue]:
    def names(second: ParsedSecond) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(sorted(name for name, _ in second.of(modality))) for modality in MODALITIES)

    for shown, group in groupby(seconds, key=names):
        joined = list(group)
        titled = zip(MODALITIES, shown, strict=True)
        lines = [f"{title}: {', '.join(named)}" for title, named in titled if named]
        if lines:
            yield Cue(joined[0].start, joined[-1].end, "\n".join(lines))
