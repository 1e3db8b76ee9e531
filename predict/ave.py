"""AVE on a video: the class of every second, the events, a timeline and subtitles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from ..preprocess.samples.whole_video import DecodedVideo
from ..preprocess.samples.windows import MergedSecond, SecondsMerger
from .digits import percent
from .results import AvePrediction, Event, Second
from .strip import open_frame
from .timeline import draw_timeline, timeline_strip
from .trained import TrainedRun, ranked

_TOP = 3


class AvePredictor:
    """Takes the windows of one video in turn."""

    def __init__(self, run: TrainedRun, video: Path, decoded: DecodedVideo) -> None:
        self.run, self.video, self.decoded = run, video, decoded
        self.classes = run.task.info.classes
        self.merger = SecondsMerger(decoded.seconds, decoded.windows)
        self.seconds: list[Second] = []
        self.strip = timeline_strip(self.merger.count)

    def add(self, members: dict[str, bytes]) -> None:
        """The next window."""
        shares = self.run(members)["logits"].softmax(-1).numpy()
        for merged in self.merger.add(shares):
            self.seconds.append(self._second(merged))
            frame = open_frame(members, merged.step)
            sound = self.run.sound(self.decoded, merged.span)
            self.strip.add(merged.index, merged.span, frame, sound)

    def _second(self, merged: MergedSecond) -> Second:
        likeliest = ranked(merged.value, self.classes, _TOP)
        name, confidence = likeliest[0]
        return Second(*merged.span, name, confidence, name == self.classes[-1], likeliest)

    def finish(self, folder: Path | None, name: str) -> AvePrediction:
        """The result; with `folder`, its files are written there."""
        result = AvePrediction(
            video=self.video,
            length_seconds=self.decoded.seconds,
            warnings=self.decoded.warnings,
            files=(),
            seconds=tuple(self.seconds),
            events=tuple(merge_events(self.seconds)),
        )
        if folder is not None:
            beneath = self.run.caption(self.decoded)
            picture = draw_timeline(
                self.strip, self.seconds, self.classes, title=self.video.name, beneath=beneath
            )
            (folder / f"{name}.timeline.png").write_bytes(picture)
            (folder / f"{name}.vtt").write_text(subtitles(result.events), encoding="utf-8")
        return result


def merge_events(seconds: Sequence[Second]) -> Iterator[Event]:
    """Successive seconds of one class as one event each; the background is none."""
    for (name, background), group in groupby(seconds, key=lambda second: (second.name, second.background)):
        own = list(group)
        if not background:
            confidence = sum(second.confidence for second in own) / len(own)
            yield Event(own[0].start, own[-1].end, name, confidence)


def subtitles(events: Sequence[Event]) -> str:
    """The events as WebVTT (https://www.w3.org/TR/webvtt1)."""
    cues = [
        f"{_timestamp(event.start)} --> {_timestamp(event.end)}\n"
        f"{_cue_text(f'{event.name} ({percent(event.confidence)})')}\n"
        for event in events
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _timestamp(seconds: float) -> str:
    milliseconds = round(1000 * seconds)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def _cue_text(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
