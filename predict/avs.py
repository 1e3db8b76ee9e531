"""AVS on a video: the sounding pixels of every second as masks, as a strip, and laid over the video."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..figures import percent
from ..preprocess.collections.windows import MergedSecond, SecondsMerger, Span
from ..shards.frame_times import FRAME_OFFSETS_SECONDS
from .annotations import annotation_folder, write_annotation
from .avs_picture import draw_masks, full_mask, mask_layer, masks_strip, overlay_layer
from .avs_result import AvsPrediction, MaskedSecond
from .overlay import overlay_size, write_overlay
from .predictor import P, Predictor, ShownFile, VideoInput, open_frame
from .trained import TrainedRun


class MaskPredictor(Predictor[P]):
    """Segment the pixels of one video.

    Writes `NAME.masks/000000.png` …, one for each second, `NAME.strip.png` and `NAME.overlay.mp4`; and the
    masks as `Annotations/NAME`, in the format of the collection `masks`. Subclasses say how outputs become
    masks, how masks are drawn, and what is noted of a second.
    """

    writes_video = True
    shown = (
        ShownFile(".overlay.mp4", "The video with its sounding pixels highlighted"),
        ShownFile(".strip.png", "Frames with their sounding pixels highlighted, and the spectrogram"),
    )

    def __init__(self, run: TrainedRun, video: VideoInput) -> None:
        super().__init__(run, video)
        decoded = video.decoded
        self.size = (decoded.width, decoded.height)
        self._merger = SecondsMerger(decoded.seconds, decoded.windows)
        self.strip = masks_strip(self._merger.count, *self.size)
        self._masks = None if video.folder is None else video.folder / f"{video.name}.masks"
        self._layers = decoded.folder / "layers"
        self._layer_size = overlay_size(*self.size)
        if self._masks is not None:
            self._masks.mkdir()
            self._annotations = annotation_folder(self._masks.parent, video.name)
            self._layers.mkdir()

    @abstractmethod
    def shares(self, members: dict[str, bytes]) -> npt.NDArray[np.floating[Any]]:
        """Return the shares of each step of a window, `[T, …, 224, 224]`, to be merged by second."""

    @abstractmethod
    def mask(self, shares: npt.NDArray[np.floating[Any]]) -> Any:
        """Return the shares of a second as a mask in the size of the video: a Pillow image."""

    @abstractmethod
    def layer(self, mask: Any) -> Any:
        """Return a mask as a transparent Pillow image to lay over its frame."""

    @abstractmethod
    def classes(self, mask: Any) -> npt.NDArray[np.integer[Any]]:
        """Return the class of every pixel of a mask, `[H, W]`: 0 for the background."""

    @abstractmethod
    def note(self, span: Span, mask: Any, file: str | None) -> None:
        """Note the next second: its start and end, its mask, and the mask's file."""

    @abstractmethod
    def picture(self, result: P) -> bytes:
        """Return the strip as PNG."""

    def add(self, members: dict[str, bytes]) -> None:
        for merged in self._merger.add(self.shares(members)):
            mask = self.mask(merged.value)
            self._add_second(merged, mask)
            frame = None
            if self.strip.shows(merged.index):
                layer = self.layer(mask.resize(self.strip.size))
                frame = overlay_layer(open_frame(members, merged.step), layer, self.strip.size)
            sound = self.run.sound(self.video.decoded, merged.span)
            self.strip.add(merged.index, merged.span, frame, sound)

    def _add_second(self, merged: MergedSecond, mask: Any) -> None:
        file = None
        if self._masks is not None:
            number = f"{merged.index:06d}.png"
            mask.save(self._masks / number, compress_level=1)
            write_annotation(self._annotations, merged.index, self.classes(mask))
            self.layer(mask.resize(self._layer_size)).save(self._layers / number, compress_level=1)
            file = f"{self._masks.name}/{number}"
        self.note(merged.span, mask, file)

    def write(self, result: P, folder: Path, on_seconds: Callable[[float], None]) -> None:
        (folder / f"{self.video.name}.strip.png").write_bytes(self.picture(result))
        write_overlay(
            self.video.media,
            self._layers,
            self._layer_size,
            FRAME_OFFSETS_SECONDS["masks"],
            folder / f"{self.video.name}.overlay.mp4",
            on_seconds=on_seconds,
        )


class AvsPredictor(MaskPredictor[AvsPrediction]):
    """Segment the sounding pixels of one video."""

    def __init__(self, run: TrainedRun, video: VideoInput) -> None:
        super().__init__(run, video)
        self._seconds: list[MaskedSecond] = []

    def shares(self, members: dict[str, bytes]) -> npt.NDArray[np.floating[Any]]:
        shares: npt.NDArray[np.floating[Any]] = (
            self.run(members)["mask_logits"][0].squeeze(1).sigmoid().numpy()
        )
        return shares

    def mask(self, shares: npt.NDArray[np.floating[Any]]) -> Any:
        return full_mask(shares, *self.size)

    def layer(self, mask: Any) -> Any:
        return mask_layer(mask)

    def classes(self, mask: Any) -> npt.NDArray[np.integer[Any]]:
        return (np.asarray(mask) > 0).astype(np.uint8)

    def note(self, span: Span, mask: Any, file: str | None) -> None:
        share = float(np.asarray(mask, dtype=np.float64).mean() / 255)
        self._seconds.append(MaskedSecond(*span, share, file))

    def result(self) -> AvsPrediction:
        width, height = self.size
        return AvsPrediction(
            video=self.video.path,
            length_seconds=self.video.decoded.seconds,
            warnings=self.video.decoded.warnings,
            files=(),
            width=width,
            height=height,
            seconds=tuple(self._seconds),
        )

    def picture(self, result: AvsPrediction) -> bytes:
        shares = [second.share for second in result.seconds]
        labels = [f"{percent(share)} of pixels" if share else "nothing" for share in shares]
        return draw_masks(self.strip, labels, title=self.video.path.name, caption=self.caption())


PREDICTOR = AvsPredictor
