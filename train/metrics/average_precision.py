"""Average precision of rankings, and its mean over classes (mAP)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def average_precision(scores: npt.NDArray[np.floating], relevant: npt.NDArray[np.bool_]) -> float:
    """Return `Σ_k (R_k − R_{k−1}) · P_k` over the distinct scores, highest first; NaN without relevant items.

    `P_k` and `R_k` are precision and recall of the items whose score is at least the k-th one, so that the
    order of equal scores does not matter. No interpolation (scikit-learn's `average_precision_score`).

    Args:
        scores: `[N]`.
        relevant: `[N]`.

    Raises ValueError for scores that are NaN, which have no order.
    """
    if np.isnan(scores).any():
        raise ValueError("scores have NaN, expected numbers that can be ranked")
    total = int(relevant.sum())
    if not total:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ranked, found = scores[order], np.cumsum(relevant[order])
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # of each distinct score
    gained = np.diff(found[last], prepend=0)
    return float((gained / total * found[last] / (last + 1)).sum())
