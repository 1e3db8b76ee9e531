"""Results of AVE on a video: the class of every second, and events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

from ..figures import clock, percent
from .results import Prediction, listed
from .subtitles import Cue, webvtt


@dataclass(frozen=True)
class Second:
    """The class of one second of a video.

    Attributes:
        start: in seconds.
        end: in seconds.
        name: the likeliest class.
        confidence: its share.
        background: `name` is the background class.
        top: the likeliest classes with their shares, the likeliest first.
    """

    start: float
    end: float
    name: str
    confidence: float
    background: bool
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Event:
    """Successive seconds of one class other than the background.

    Attributes:
        start: of the first second, in seconds.
        end: of the last second, in seconds.
        name: of the class.
        confidence: the mean of the seconds' shares.
    """

    start: float
    end: float
    name: str
    confidence: float


@dataclass(frozen=True)
class AvePrediction(Prediction):
    """The class of every second of a video, and the events that follow from them.

    Attributes:
        seconds: without gaps; the last one may be up to half a second longer or shorter.
        events: successive seconds of one class, joined.
    """

    seconds: tuple[Second, ...]
    events: tuple[Event, ...]

    header: ClassVar = ("from", "to", "event", "confidence")

    def findings(self) -> dict[str, Any]:
        def classified(name: str, confidence: float) -> dict[str, Any]:
            return {"class": name, "confidence": confidence}

        return {
            "seconds": [
                {"start": one.start, "end": one.end}
                | classified(one.name, one.confidence)
                | {"background": one.background, "top": [classified(*likely) for likely in one.top]}
                for one in self.seconds
            ],
            "events": [
                {"start": one.start, "end": one.end} | classified(one.name, one.confidence)
                for one in self.events
            ],
        }

    def rows(self) -> Sequence[tuple[str, ...]]:
        found = [(clock(one.start), clock(one.end), one.name, percent(one.confidence)) for one in self.events]
        return found or [(clock(0), clock(self.length_seconds), "no event", "")]

    def headline(self) -> str:
        return (
            listed([f"{one.name} {clock(one.start)}–{clock(one.end)}" for one in self.events]) or "No event"
        )


def merge_events(seconds: Sequence[Second]) -> Iterator[Event]:
    """Join successive seconds of one class into events; seconds of background are skipped."""
    for (name, background), group in groupby(seconds, key=lambda second: (second.name, second.background)):
        joined = list(group)
        if not background:
            confidence = sum(second.confidence for second in joined) / len(joined)
            yield Event(joined[0].start, joined[-1].end, name, confidence)


def subtitles(events: Sequence[Event]) -> str:
    """Return the events as WebVTT."""
    return webvtt(
        Cue(event.start, event.end, f"{event.name} ({percent(event.confidence)})") for event in events
    )
