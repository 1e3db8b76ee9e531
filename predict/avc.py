"""AVC on a video: its classes, as a whole and over time, a timeline and subtitles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ..preprocess.collections.windows import MergedSecond, SecondsMerger
from ..train.tasks.avc import AvcTask
from .avc_labels import LABELS_FILE, labels_table
from .avc_picture import draw_labels
from .avc_result import AvcPrediction, LabelledSecond, Ranked, merge_parts
from .predictor import Predictor, ShownFile, VideoInput, open_frame, rank_classes
from .subtitles import Cue, webvtt
from .timeline import seconds_strip
from .trained import TrainedRun

_TOP = 5


class AvcPredictor(Predictor[AvcPrediction]):
    """Classify one video, window by window.

    Writes `NAME.labels.png` and `NAME.vtt`, and for all videos `predicted-labels.csv`. A second has the mean
    shares of the windows that cover it. The video has the mean shares of its seconds or, where clips have
    several labels, the highest ones.
    """

    shown = (
        ShownFile(".labels.png", "Frames, spectrogram, labels over time, and the likeliest classes"),
        ShownFile(".vtt", "Predicted labels"),
    )

    def __init__(self, run: TrainedRun, video: VideoInput) -> None:
        super().__init__(run, video)
        self._task = cast(AvcTask, run.task)
        self._merger = SecondsMerger(video.decoded.seconds, video.decoded.windows)
        self._seconds: list[LabelledSecond] = []
        self._whole: npt.NDArray[np.float64] = np.zeros(len(run.task.info.classes))
        self._strip = seconds_strip(self._merger.count)

    def add(self, members: dict[str, bytes]) -> None:
        shares = self._task.shares(self.run(members)["logits"][0]).numpy()
        steps = np.broadcast_to(shares, (self.run.settings.sampling.frames, len(shares)))
        for merged in self._merger.add(steps):
            self._add_second(merged)
            frame = open_frame(members, merged.step) if self._strip.shows(merged.index) else None
            sound = self.run.sound(self.video.decoded, merged.span)
            self._strip.add(merged.index, merged.span, frame, sound)

    def _add_second(self, merged: MergedSecond) -> None:
        start, end = merged.span
        if self._task.several:
            self._whole = np.maximum(self._whole, merged.value)
        else:
            self._whole += merged.value * (end - start) / self.video.decoded.seconds
        labels, top = self._ranked(merged.value)
        self._seconds.append(LabelledSecond(start, end, tuple(name for name, _ in labels), top))

    def _ranked(self, shares: npt.NDArray[np.floating[Any]]) -> tuple[Ranked, Ranked]:
        """Return the predicted and the likeliest classes, the former at the beginning of the latter."""
        count = len(self._task.predicted(shares))
        ranked = rank_classes(shares, self._task.info.classes, max(count, _TOP))
        return ranked[:count], ranked

    def result(self) -> AvcPrediction:
        decoded = self.video.decoded
        labels, top = self._ranked(self._whole)
        return AvcPrediction(
            video=self.video.path,
            length_seconds=decoded.seconds,
            warnings=decoded.warnings,
            files=(),
            labels=labels,
            top=top,
            parts=tuple(merge_parts(self._seconds)),
            seconds=tuple(self._seconds),
        )

    @classmethod
    def annotations(
        cls, run: TrainedRun, results: Sequence[AvcPrediction], names: Sequence[str]
    ) -> dict[str, str]:
        """Return the labels of all videos as a table of the collection `labels`."""
        several = cast(AvcTask, run.task).several
        return {LABELS_FILE: labels_table(names, [one.labels for one in results], several=several)}

    def write(self, result: AvcPrediction, folder: Path, on_seconds: Callable[[float], None]) -> None:  # noqa: ARG002
        picture = draw_labels(
            self._strip,
            result,
            self._task.info.classes,
            title=self.video.path.name,
            caption=self.caption(),
        )
        (folder / f"{self.video.name}.labels.png").write_bytes(picture)
        cues = [Cue(part.start, part.end, part.text) for part in result.parts if part.labels]
        (folder / f"{self.video.name}.vtt").write_text(webvtt(cues), encoding="utf-8")


PREDICTOR = AvcPredictor
