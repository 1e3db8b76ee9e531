"""AVVP on a video: audible and visible events of every second, a timeline and subtitles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..preprocess.collections.windows import MergedSecond, SecondsMerger
from ..train.metrics.event_parsing import THRESHOLD
from .avvp_picture import draw_parsing
from .avvp_result import AvvpPrediction, Named, ParsedSecond, find_events, subtitles
from .event_export import ExportedEvent, write_events
from .predictor import Predictor, ShownFile, VideoInput, open_frame, rank_classes
from .timeline import seconds_strip
from .trained import TrainedRun


class AvvpPredictor(Predictor[AvvpPrediction]):
    """Find the events of one video by modality.

    Writes `NAME.timeline.png`, subtitles (`NAME.vtt`), and the events to correct: `NAME.events.csv` and
    `NAME.labels.txt`.

    A class counts in a second when its probability there, and that of its window, is at least 0.5. Where
    windows overlap, both are means.
    """

    shown = (
        ShownFile(".timeline.png", "Frames, spectrogram, and the audible and visible events of every second"),
        ShownFile(".vtt", "Audible and visible events"),
    )

    def __init__(self, run: TrainedRun, video: VideoInput) -> None:
        super().__init__(run, video)
        self._classes = run.task.info.classes
        self._merger = SecondsMerger(video.decoded.seconds, video.decoded.windows)
        self._seconds: list[ParsedSecond] = []
        self._strip = seconds_strip(self._merger.count)

    def add(self, members: dict[str, bytes]) -> None:
        outputs = self.run(members)
        seconds = outputs["logits"][0].sigmoid().numpy()
        clip = np.broadcast_to(outputs["clip"][0].numpy(), (len(seconds), 1, len(self._classes)))
        for merged in self._merger.add(np.concatenate([seconds, clip], axis=1)):
            self._seconds.append(self._second(merged))
            shown = open_frame(members, merged.step), self.run.sound(self.video.decoded, merged.span)
            self._strip.add(merged.index, merged.span, *shown)

    def _second(self, merged: MergedSecond) -> ParsedSecond:
        audible, visible, clip = merged.value
        return ParsedSecond(*merged.span, self._named(audible, clip), self._named(visible, clip))

    def _named(self, shares: npt.NDArray[Any], clip: npt.NDArray[Any]) -> Named:
        count = int(((shares >= THRESHOLD) & (clip >= THRESHOLD)).sum())
        return rank_classes(np.where(clip >= THRESHOLD, shares, 0.0), self._classes, count)

    def result(self) -> AvvpPrediction:
        return AvvpPrediction(
            video=self.video.path,
            length_seconds=self.video.decoded.seconds,
            warnings=self.video.decoded.warnings,
            files=(),
            seconds=tuple(self._seconds),
            events=tuple(find_events(self._seconds)),
        )

    def write(self, result: AvvpPrediction, folder: Path, on_seconds: Callable[[float], None]) -> None:  # noqa: ARG002
        name, path = self.video.name, self.video.path
        drawn = draw_parsing(
            self._strip, result.seconds, self._classes, title=path.name, caption=self.caption()
        )
        (folder / f"{name}.timeline.png").write_bytes(drawn)
        (folder / f"{name}.vtt").write_text(subtitles(result.seconds), encoding="utf-8")
        exported = (
            ExportedEvent(one.start, one.end, one.name, one.confidence, one.modality) for one in result.events
        )
        write_events(exported, folder, name=name, filename=self.video.filename)


PREDICTOR = AvvpPredictor
