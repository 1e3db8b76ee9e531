"""AVS on a video: the sounding pixels of every second as masks, as a strip, and laid over the video."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..preprocess.samples.windows import MergedSecond, SecondsMerger
from ..shards.frame_times import FRAME_OFFSETS_SECONDS
from .avs_picture import draw_masks, full_mask, mask_layer, masks_strip, overlay_mask
from .avs_result import AvsPrediction, MaskedSecond
from .overlay import overlay_size, write_overlay
from .predictor import Predictor, VideoInput, open_frame
from .trained import TrainedRun


class AvsPredictor(Predictor[AvsPrediction]):
    """Segment the sounding pixels of one video.

    Writes `NAME.masks/000000.png` …, one for each second, `NAME.strip.png` and `NAME.overlay.mp4`.
    """

    writes_video = True

    def __init__(self, run: TrainedRun, video: VideoInput) -> None:
        super().__init__(run, video)
        decoded = video.decoded
        self._size = (decoded.width, decoded.height)
        self._merger = SecondsMerger(decoded.seconds, decoded.windows)
        self._seconds: list[MaskedSecond] = []
        self._strip = masks_strip(self._merger.count, *self._size)
        self._masks = None if video.folder is None else video.folder / f"{video.name}.masks"
        self._layers = decoded.folder / "layers"
        self._layer_size = overlay_size(*self._size)
        if self._masks is not None:
            self._masks.mkdir()
            self._layers.mkdir()

    def add(self, members: dict[str, bytes]) -> None:
        shares = self.run(members)["mask_logits"][0].squeeze(1).sigmoid().numpy()
        for merged in self._merger.add(shares):
            mask = full_mask(merged.value, *self._size)
            self._add_second(merged, mask)
            frame = None
            if self._strip.shows(merged.index):
                frame = overlay_mask(open_frame(members, merged.step), mask, self._strip.size)
            sound = self.run.sound(self.video.decoded, merged.span)
            self._strip.add(merged.index, merged.span, frame, sound)

    def _add_second(self, merged: MergedSecond, mask: Any) -> None:
        file = None
        if self._masks is not None:
            number = f"{merged.index:06d}.png"
            mask.save(self._masks / number, compress_level=1)
            mask_layer(mask.resize(self._layer_size)).save(self._layers / number, compress_level=1)
            file = f"{self._masks.name}/{number}"
        share = float(np.asarray(mask, dtype=np.float64).mean() / 255)
        self._seconds.append(MaskedSecond(*merged.span, share, file))

    def result(self) -> AvsPrediction:
        width, height = self._size
        return AvsPrediction(
            video=self.video.path,
            length_seconds=self.video.decoded.seconds,
            warnings=self.video.decoded.warnings,
            files=(),
            width=width,
            height=height,
            seconds=tuple(self._seconds),
        )

    def write(self, result: AvsPrediction, folder: Path, on_seconds: Callable[[float], None]) -> None:
        picture = draw_masks(self._strip, result.seconds, title=self.video.path.name, caption=self.caption())
        (folder / f"{self.video.name}.strip.png").write_bytes(picture)
        write_overlay(
            self.video.media,
            self._layers,
            self._layer_size,
            FRAME_OFFSETS_SECONDS["masks"],
            folder / f"{self.video.name}.overlay.mp4",
            on_seconds=on_seconds,
        )


PREDICTOR = AvsPredictor
