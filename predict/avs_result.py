"""Results of AVS on a video: a mask for every second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from ..figures import percent
from .results import Prediction


@dataclass(frozen=True)
class MaskedSecond:
    """The mask of one second of a video.

    Attributes:
        start: in seconds.
        end: in seconds.
        share: the share of sounding pixels.
        mask: the mask's file, relative to the folder of the results; None when no files are written.
    """

    start: float
    end: float
    share: float
    mask: str | None


@dataclass(frozen=True)
class AvsPrediction(Prediction):
    """The sounding pixels of every second of a video.

    Attributes:
        width: of the upright video and its masks, in pixels.
        height: likewise.
        seconds: without gaps; the last one may be up to half a second longer or shorter.
    """

    width: int
    height: int
    seconds: tuple[MaskedSecond, ...]

    header: ClassVar = ("seconds", "sounding pixels, mean", "least", "most")

    def findings(self) -> dict[str, Any]:
        return {
            "width": self.width,
            "height": self.height,
            "seconds": [asdict(one) for one in self.seconds],
        }

    def rows(self) -> Sequence[tuple[str, ...]]:
        shares = [one.share for one in self.seconds]
        summary = (sum(shares) / len(shares), min(shares), max(shares))
        return [(str(len(shares)), *map(percent, summary))]

    def headline(self) -> str:
        count = sum(one.share > 0 for one in self.seconds)
        return f"Sounding pixels in {count} of {len(self.seconds)} seconds" if count else "No sounding pixels"
