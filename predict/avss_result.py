"""Results of AVSS on a video: the class of every pixel, for every second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from ..figures import percent
from .results import Prediction, listed


@dataclass(frozen=True)
class ClassShare:
    """The share of the pixels of a second that have the class `name`."""

    name: str
    share: float


@dataclass(frozen=True)
class ClassedSecond:
    """The classes of one second of a video.

    Attributes:
        start: in seconds.
        end: in seconds.
        classes: those in it but the background, the largest first.
        mask: the mask's file, relative to the folder of the results; None when no files are written.
    """

    start: float
    end: float
    classes: tuple[ClassShare, ...]
    mask: str | None


@dataclass(frozen=True)
class AvssPrediction(Prediction):
    """The class of every pixel of every second of a video.

    Attributes:
        width: of the upright video and its masks, in pixels.
        height: likewise.
        classes: names in the order of the masks' pixel values; the first is the background.
        seconds: without gaps; the last one may be up to half a second longer or shorter.
    """

    width: int
    height: int
    classes: tuple[str, ...]
    seconds: tuple[ClassedSecond, ...]

    header: ClassVar = ("class", "seconds", "pixels, mean of these", "most")

    def findings(self) -> dict[str, Any]:
        return {
            "width": self.width,
            "height": self.height,
            "classes": list(self.classes),
            "seconds": [asdict(one) for one in self.seconds],
        }

    def by_class(self) -> dict[str, list[float]]:
        """Return the shares of each class that occurs, in the order of the classes."""
        shares: dict[str, list[float]] = {}
        for second in self.seconds:
            for one in second.classes:
                shares.setdefault(one.name, []).append(one.share)
        return dict(sorted(shares.items(), key=lambda item: self.classes.index(item[0])))

    def rows(self) -> Sequence[tuple[str, ...]]:
        return [
            (name, str(len(shares)), percent(sum(shares) / len(shares)), percent(max(shares)))
            for name, shares in self.by_class().items()
        ] or [("nothing", str(len(self.seconds)), percent(0), percent(0))]

    def headline(self) -> str:
        return listed(list(self.by_class())) or "No sounding pixels"
