"""AVE on a video: the class of every second, events, a timeline and subtitles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..preprocess.collections.windows import MergedSecond, SecondsMerger
from .ave_picture import draw_timeline
from .ave_result import AvePrediction, Second, merge_events, subtitles
from .event_export import ExportedEvent, write_events
from .predictor import Predictor, ShownFile, VideoInput, open_frame, rank_classes
from .timeline import seconds_strip
from .trained import TrainedRun

_TOP = 3


class AvePredictor(Predictor[AvePrediction]):
    """Classify the seconds of one video.

    Writes `NAME.timeline.png`, subtitles (`NAME.vtt`), and the events to correct: `NAME.events.csv` and
    `NAME.labels.txt`.
    """

    shown = (
        ShownFile(".timeline.png", "Frames, spectrogram and predicted event of every second"),
        ShownFile(".vtt", "Predicted events"),
    )

    def __init__(self, run: TrainedRun, video: VideoInput) -> None:
        super().__init__(run, video)
        self._classes = run.task.info.classes
        self._merger = SecondsMerger(video.decoded.seconds, video.decoded.windows)
        self._seconds: list[Second] = []
        self._strip = seconds_strip(self._merger.count)

    def add(self, members: dict[str, bytes]) -> None:
        shares = self.run(members)["logits"][0].softmax(-1).numpy()
        for merged in self._merger.add(shares):
            self._seconds.append(self._second(merged))
            frame = open_frame(members, merged.step)
            sound = self.run.sound(self.video.decoded, merged.span)
            self._strip.add(merged.index, merged.span, frame, sound)

    def _second(self, merged: MergedSecond) -> Second:
        top = rank_classes(merged.value, self._classes, _TOP)
        name, confidence = top[0]
        return Second(*merged.span, name, confidence, name == self._classes[-1], top)

    def result(self) -> AvePrediction:
        return AvePrediction(
            video=self.video.path,
            length_seconds=self.video.decoded.seconds,
            warnings=self.video.decoded.warnings,
            files=(),
            seconds=tuple(self._seconds),
            events=tuple(merge_events(self._seconds)),
        )

    def write(self, result: AvePrediction, folder: Path, on_seconds: Callable[[float], None]) -> None:  # noqa: ARG002
        picture = draw_timeline(
            self._strip,
            result.seconds,
            self._classes,
            title=self.video.path.name,
            caption=self.caption(),
        )
        (folder / f"{self.video.name}.timeline.png").write_bytes(picture)
        (folder / f"{self.video.name}.vtt").write_text(subtitles(result.events), encoding="utf-8")
        events = [ExportedEvent(one.start, one.end, one.name, one.confidence) for one in result.events]
        write_events(events, folder, name=self.video.name, filename=self.video.filename)


PREDICTOR = AvePredictor
