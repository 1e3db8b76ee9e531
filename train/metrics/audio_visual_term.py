"""Losses between the sound of a frame and the pixels that the mask selects, as AVSBench trains with them.

Of every stage of the decoder, the visual features after its audio-visual block are averaged under the
predicted mask, and the result is compared with the features of the sound of that frame. Formulas: AVSBench
(OpenNLPLab), `loss.py` of S4, MS3 and AVSS; `MS3_TERM` and `AVSS_TERM` are what their train.sh sets. The loss
is `mask loss + 0.5 · term`.

Two details of these settings are often told otherwise: features are not normalised before the softmax, and no
gradient is stopped (it reaches the sound, the visual features and, in MS3, the logits).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from .cross_entropy import precise

WEIGHT = 0.5
_EPSILON = 1e-6


def pooled_logit_maps(
    logits: Tensor, size: tuple[int, int], *, pooling: Literal["average", "maximum"] = "average"
) -> Tensor:
    """Return MS3's maps, the sigmoid of pooled logits: `[N, 1, H, W]` → `[N, 1, h, w]`, `size` = (h, w)."""
    pool = functional.adaptive_avg_pool2d if pooling == "average" else functional.adaptive_max_pool2d
    pooled: Tensor = pool(logits, size)
    return pooled.sigmoid()


def pooled_share_maps(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Return S4's maps, the pooled sigmoid of logits: `[N, 1, H, W]` → `[N, 1, h, w]`."""
    return functional.adaptive_avg_pool2d(logits.sigmoid(), size)


def class_maps(logits: Tensor, size: tuple[int, int], *, background: int = 0) -> Tensor:
    """Return AVSS's maps, the share of pixels of a class but `background`: `[N, C, H, W]` → `[N, 1, h, w]`.

    Logits get no gradient. Until 2024-09-06 the release had `background=70`, nearly the whole image.
    """
    chosen = (logits.detach().argmax(1, keepdim=True) != background).to(logits.dtype)
    return functional.adaptive_avg_pool2d(chosen, size)


def mean_under(visual: Tensor, maps: Tensor) -> Tensor:
    """Return the mean over all pixels of `visual · maps`: `[N, C, h, w]`, `[N, 1, h, w]` → `[N, C]`."""
    return (visual * maps).mean((2, 3))


def mean_of_selected(visual: Tensor, maps: Tensor) -> Tensor:
    """Return the mean over the pixels above 0.5 in `maps`: `[N, C, h, w]`, `[N, 1, h, w]` → `[N, C]`.

    The sum is divided by the count + 1e-6, so nothing selected gives 0. The maps get no gradient.
    """
    selected = (maps > 0.5).to(visual.dtype)
    return (visual * selected).sum((2, 3)) / (selected.sum((2, 3)) + _EPSILON)


def kl_divergence(audio: Tensor, visual: Tensor) -> Tensor:
    """Return KL(softmax(audio) ‖ softmax(visual)) by frame: `[N, C]` twice → `[N]`.

    From `log_softmax`. The release takes the log of a softmax, which is infinite or NaN in float32 when the
    values of a vector are about 100 apart, its gradient even before.
    """
    log_audio, log_visual = audio.log_softmax(1), visual.log_softmax(1)
    return (log_audio.exp() * (log_audio - log_visual)).sum(1)


def euclidean_distance(audio: Tensor, visual: Tensor) -> Tensor:
    """Return the 2-norm of `audio − visual + 1e-6` by frame: `[N, C]` twice → `[N]`."""
    return functional.pairwise_distance(audio, visual, eps=_EPSILON)


def cosine_loss(audio: Tensor, visual: Tensor) -> Tensor:
    """Return −log(max(cosine, 0) + 1e-6) by frame, of vectors of length 1: `[N, C]` twice → `[N]`."""
    return -((audio * visual).sum(1).relu() + _EPSILON).log()


_DISTANCES = {"kl": kl_divergence, "euclidean": euclidean_distance, "cosine": cosine_loss}


@dataclass(frozen=True)
class AudioVisualTerm:
    """One variant of the term; make others with `dataclasses.replace`.

    Attributes:
        maps: how the maps follow from the logits; see `pooled_logit_maps`, `pooled_share_maps`, `class_maps`.
        reduction: `sum` over the frames, as MS3, so that the term grows with the batch; or `mean`.
        distance: see `kl_divergence`, `euclidean_distance`, `cosine_loss`.
        normalised: divide both vectors by their length first.
        thresholded: select pixels (`mean_of_selected`) and do not weigh them (`mean_under`).
        pooling: of the logits; only with `pooled-logits`.
        background: class that the maps leave out; only with `classes`.
        stages: the stages in use, from 0; the term is the mean over them.
    """

    maps: Literal["pooled-logits", "pooled-shares", "classes"]
    reduction: Literal["sum", "mean"]
    distance: Literal["kl", "euclidean", "cosine"] = "kl"
    normalised: bool = False
    thresholded: bool = False
    pooling: Literal["average", "maximum"] = "average"
    background: int = 0
    stages: tuple[int, ...] = (0, 1, 2, 3)

    def __post_init__(self) -> None:
        if self.distance not in _DISTANCES:
            raise ValueError(f"distance is {self.distance!r}, must be one of {', '.join(_DISTANCES)}")
        if not self.stages:
            raise ValueError("stages is empty, must name at least one stage")
        if self.pooling != "average" and self.maps != "pooled-logits":
            raise ValueError(f"pooling {self.pooling!r} needs maps 'pooled-logits', not {self.maps!r}")

    def by_frame(self, logits: Tensor, audio: Sequence[Tensor], visual: Sequence[Tensor]) -> Tensor:
        """Return the mean over the stages, by frame, `[N]`; in float32, or float64 for float64.

        Args:
            logits: `[N, 1, H, W]`, or `[N, classes, H, W]` with maps `classes`.
            audio: by stage, `[N, C]`.
            visual: by stage, `[N, C, h, w]`, all frames of a clip one after the other.
        """
        with torch.autocast(logits.device.type, enabled=False):
            exact = precise(logits)
            values = [self._stage(exact, precise(audio[at]), precise(visual[at])) for at in self.stages]
        return torch.stack(values).mean(0)

    def __call__(
        self,
        logits: Tensor,
        audio: Sequence[Tensor],
        visual: Sequence[Tensor],
        *,
        counted: Tensor | None = None,
    ) -> Tensor:
        """Return the term of a batch, a scalar. Arguments as `by_frame`.

        `counted` `[N]`, 0 and 1, are the frames that enter the sum or mean (AVSS: the annotated ones); all by
        default.
        """
        values = self.by_frame(logits, audio, visual)
        flags = torch.ones_like(values) if counted is None else counted.to(values.dtype)
        total = (values * flags).sum()
        return total if self.reduction == "sum" else total / flags.sum()

    def _stage(self, logits: Tensor, audio: Tensor, visual: Tensor) -> Tensor:
        size = (visual.shape[2], visual.shape[3])
        pool = mean_of_selected if self.thresholded else mean_under
        seen = pool(visual, self._maps(logits, size))
        if self.normalised:
            audio, seen = functional.normalize(audio, dim=1), functional.normalize(seen, dim=1)
        return _DISTANCES[self.distance](audio, seen)

    def _maps(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        if self.maps == "classes":
            return class_maps(logits, size, background=self.background)
        if self.maps == "pooled-shares":
            return pooled_share_maps(logits, size)
        return pooled_logit_maps(logits, size, pooling=self.pooling)


MS3_TERM = AudioVisualTerm(maps="pooled-logits", reduction="sum")
AVSS_TERM = AudioVisualTerm(maps="classes", reduction="mean")
# An option of S4's script, off in its train.sh.
S4_COSINE_TERM = AudioVisualTerm(
    maps="pooled-shares", reduction="mean", distance="cosine", normalised=True, thresholded=True
)
