"""AVSS on a video: the class of every pixel, as masks, as a strip, and laid over the video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..figures import palette_colour
from ..preprocess.collections.mask_classes import TEXT as CLASS_FILE
from ..preprocess.collections.mask_classes import class_lines
from ..preprocess.collections.windows import Span
from .avs import MaskPredictor
from .avs_picture import draw_masks
from .avss_picture import class_layer, full_class_map
from .avss_result import AvssPrediction, ClassedSecond, ClassShare
from .predictor import VideoInput
from .trained import TrainedRun


class AvssPredictor(MaskPredictor[AvssPrediction]):
    """Find the class of every pixel of one video.

    Masks are PNG files with a palette: the value of a pixel is its class, its colour that of AVSS. For all
    videos together, writes `classes.txt` with the names of the classes, for the collection `masks`.
    """

    def __init__(self, run: TrainedRun, video: VideoInput) -> None:
        super().__init__(run, video)
        self._classes = run.task.info.classes
        self._seconds: list[ClassedSecond] = []

    @classmethod
    def annotations(
        cls,
        run: TrainedRun,
        results: Sequence[AvssPrediction],
        names: Sequence[str],  # noqa: ARG003
    ) -> dict[str, str]:
        return {CLASS_FILE: class_lines(run.task.info.classes)} if results else {}

    def shares(self, members: dict[str, bytes]) -> npt.NDArray[np.floating[Any]]:
        steps = sum(name.startswith("frame_") for name in members)
        shares: npt.NDArray[np.floating[Any]] = self.run(members)["mask_logits"][0, :steps].softmax(1).numpy()
        return shares

    def mask(self, shares: npt.NDArray[np.floating[Any]]) -> Any:
        return full_class_map(shares, *self.size)

    def layer(self, mask: Any) -> Any:
        return class_layer(mask)

    def classes(self, mask: Any) -> npt.NDArray[np.integer[Any]]:
        return np.asarray(mask)

    def note(self, span: Span, mask: Any, file: str | None) -> None:
        pixels = np.bincount(np.asarray(mask).ravel(), minlength=len(self._classes))
        found = sorted((index for index in range(1, len(pixels)) if pixels[index]), key=lambda i: -pixels[i])
        shares = (ClassShare(self._classes[index], float(pixels[index] / pixels.sum())) for index in found)
        self._seconds.append(ClassedSecond(*span, tuple(shares), file))

    def result(self) -> AvssPrediction:
        width, height = self.size
        return AvssPrediction(
            video=self.video.path,
            length_seconds=self.video.decoded.seconds,
            warnings=self.video.decoded.warnings,
            files=(),
            width=width,
            height=height,
            classes=self._classes,
            seconds=tuple(self._seconds),
        )

    def picture(self, result: AvssPrediction) -> bytes:
        return draw_masks(
            self.strip,
            [", ".join(one.name for one in second.classes) or "nothing" for second in result.seconds],
            title=self.video.path.name,
            caption=self.caption(),
            legend=[(palette_colour(self._classes.index(name)), name) for name in result.by_class()],
        )


PREDICTOR = AvssPredictor
