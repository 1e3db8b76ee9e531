"""AVS on a video: which pixels sound in every second, as masks, a strip, and laid over the video."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..preprocess.media.probe import MediaInfo
from ..preprocess.samples.sample import mask_seconds
from ..preprocess.samples.whole_video import DecodedVideo
from ..preprocess.samples.windows import MergedSecond, SecondsMerger
from .mask_pictures import draw_masks, full_mask, layer, masks_strip, overlaid
from .overlay import overlay_size, write_overlay
from .results import AvsPrediction, MaskedSecond
from .strip import open_frame
from .trained import TrainedRun


class AvsPredictor:
    """Takes the windows of one video in turn.

    With `folder`, masks are written there as `NAME.masks/000000.png` …, one a second.
    """

    def __init__(
        self,
        run: TrainedRun,
        video: Path,
        decoded: DecodedVideo,
        info: MediaInfo,
        folder: Path | None,
        name: str,
    ) -> None:
        self.run, self.video, self.decoded, self.info = run, video, decoded, info
        self.merger = SecondsMerger(decoded.seconds, decoded.windows)
        self.seconds: list[MaskedSecond] = []
        self.strip = masks_strip(self.merger.count, decoded.width, decoded.height)
        self.masks = None if folder is None else folder / f"{name}.masks"
        self.layers = decoded.folder / "layers"
        self.layer_size = overlay_size(decoded.width, decoded.height)
        if self.masks is not None:
            self.masks.mkdir()
            self.layers.mkdir()

    def add(self, members: dict[str, bytes]) -> None:
        """The next window."""
        shares = self.run(members)["mask_logits"].squeeze(1).sigmoid().numpy()
        for merged in self.merger.add(shares):
            mask = full_mask(merged.value, self.decoded.width, self.decoded.height)
            self._keep(merged, mask)
            frame = None
            if self.strip.shows(merged.index):
                frame = overlaid(open_frame(members, merged.step), mask, self.strip.size)
            sound = self.run.sound(self.decoded, merged.span)
            self.strip.add(merged.index, merged.span, frame, sound)

    def _keep(self, merged: MergedSecond, mask: Any) -> None:
        written = None
        if self.masks is not None:
            number = f"{merged.index:06d}.png"
            mask.save(self.masks / number, compress_level=1)
            layer(mask.resize(self.layer_size)).save(self.layers / number, compress_level=1)
            written = f"{self.masks.name}/{number}"
        share = float(np.asarray(mask, dtype=np.float64).mean() / 255)
        self.seconds.append(MaskedSecond(*merged.span, share, written))

    def finish(self, folder: Path | None, name: str, on_seconds: Callable[[float], None]) -> AvsPrediction:
        """The result; with `folder`, its files are written there, and `on_seconds` hears how far they are."""
        result = AvsPrediction(
            video=self.video,
            length_seconds=self.decoded.seconds,
            warnings=self.decoded.warnings,
            files=(),
            width=self.decoded.width,
            height=self.decoded.height,
            seconds=tuple(self.seconds),
        )
        if folder is not None:
            beneath = self.run.caption(self.decoded)
            picture = draw_masks(self.strip, self.seconds, title=self.video.name, beneath=beneath)
            (folder / f"{name}.strip.png").write_bytes(picture)
            shown_at = float(mask_seconds(1)[0])
            target = folder / f"{name}.overlay.mp4"
            write_overlay(self.info, self.layers, self.layer_size, shown_at, target, on_seconds=on_seconds)
        return result
